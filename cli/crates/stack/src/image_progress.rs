//! Reports the progress of images as nodes of the graph.

use std::collections::BTreeSet;
use std::sync::Mutex;

use dm_images::{BASE_IMAGE, ImageProgress, ProgressUpdate};

use super::event::NodeState;
use super::executor::EventEmitter;

/// Returns the name of the node that acquires a component's image.
#[must_use]
pub(crate) fn image_node_name(component: &str) -> String {
    format!("{component}-image")
}

/// Emits the progress of images as events of their nodes.
///
/// The base image has no node of its own: its progress is reported for every
/// image whose own work has not begun.
#[derive(Debug)]
pub struct NodeProgress {
    emitter: EventEmitter,
    pending: Mutex<BTreeSet<String>>,
    reported_notes: Mutex<BTreeSet<String>>,
}

impl NodeProgress {
    /// Creates a reporter that uses this emitter.
    #[must_use]
    pub fn new(emitter: EventEmitter) -> Self {
        Self {
            emitter,
            pending: Mutex::default(),
            reported_notes: Mutex::default(),
        }
    }

    /// Registers the images that are about to be acquired.
    pub fn expect_images(&self, components: &[String]) {
        if let Ok(mut pending) = self.pending.lock() {
            pending.extend(components.iter().cloned());
        }
    }
}

impl ImageProgress for NodeProgress {
    fn on_progress(&self, image: &str, update: ProgressUpdate) {
        let is_own_work = update.activity != "pulling";
        let state = NodeState::from(update);
        let Ok(mut pending) = self.pending.lock() else {
            return;
        };
        if image == BASE_IMAGE {
            for component in pending.iter() {
                self.emitter
                    .emit_state(&image_node_name(component), state.clone());
            }
        } else {
            // An image that cannot be pulled still waits for the base.
            if is_own_work {
                pending.remove(image);
            }
            self.emitter.emit_state(&image_node_name(image), state);
        }
    }

    fn on_note(&self, image: &str, text: String) {
        // A note about the base is reported once for every image on top of it.
        let is_new = self
            .reported_notes
            .lock()
            .is_ok_and(|mut reported| reported.insert(format!("{image} {text}")));
        if is_new {
            self.emitter.emit_note(Some(&image_node_name(image)), text);
        }
    }
}
