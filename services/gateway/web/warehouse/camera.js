// Reads barcodes with the camera, in browsers that can.

import { h, openDialog } from '../shared/dom.js';

const INTERVAL_MS = 200;

export const hasCamera = 'BarcodeDetector' in globalThis && Boolean(navigator.mediaDevices);

/** Opens the camera and calls `found` with the text of the first barcode. */
export async function scanWithCamera(found) {
  // First: it may fail, and then no camera is switched on.
  const detector = new globalThis.BarcodeDetector();
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' } });
  const video = h('video', { autoplay: true, muted: true, playsinline: true, 'aria-label': 'Camera' });
  video.srcObject = stream;
  const timer = setInterval(async () => {
    const codes = video.readyState < 2 ? [] : await detector.detect(video).catch(() => []);
    if (!codes.length || !video.isConnected) return;
    close();
    found(codes[0].rawValue);
  }, INTERVAL_MS);
  const closed = () => {
    clearInterval(timer);
    for (const track of stream.getTracks()) track.stop();
  };
  const close = openDialog({ title: 'Point at a barcode', content: video, closed });
}
