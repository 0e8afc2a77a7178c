//! Tells of images under way as nodes of the graph.

use std::collections::BTreeSet;
use std::sync::Mutex;

use dm_images::{BASE_IMAGE, ImageProgress, ProgressUpdate};

use super::event::NodeState;
use super::executor::EventEmitter;

/// The name of the node that gets a component's image.
#[must_use]
pub(crate) fn image_node_name(component: &str) -> String {
    format!("{component}-image")
}

/// Sends what is told of images as events of their nodes.
///
/// The base image has no node of its own, since nobody asks for it: what is
/// told of it goes to every image that has not begun with its own work.
#[derive(Debug)]
pub struct NodeProgress {
    emitter: EventEmitter,
    pending: Mutex<BTreeSet<String>>,
    reported_notes: Mutex<BTreeSet<String>>,
}

impl NodeProgress {
    /// Progress that goes to this emitter.
    #[must_use]
    pub fn new(emitter: EventEmitter) -> Self {
        Self {
            emitter,
            pending: Mutex::default(),
            reported_notes: Mutex::default(),
        }
    }

    /// Names the images that are about to be obtained.
    pub fn expect_images(&self, components: &[String]) {
        if let Ok(mut waiting) = self.pending.lock() {
            waiting.extend(components.iter().cloned());
        }
    }
}

impl ImageProgress for NodeProgress {
    fn on_progress(&self, image: &str, update: ProgressUpdate) {
        let update_is_own = update.activity != "pulling";
        let state = NodeState::from(update);
        let Ok(mut waiting) = self.pending.lock() else {
            return;
        };
        if image == BASE_IMAGE {
            for component in waiting.iter() {
                self.emitter
                    .emit_state(&image_node_name(component), state.clone());
            }
        } else {
            // Whoever finds no registry goes on to wait for the base.
            if update_is_own {
                waiting.remove(image);
            }
            self.emitter.emit_state(&image_node_name(image), state);
        }
    }

    fn on_note(&self, image: &str, text: String) {
        // What holds for the base is told once for every image on top of it.
        let first = self
            .reported_notes
            .lock()
            .is_ok_and(|mut told| told.insert(format!("{image} {text}")));
        if first {
            self.emitter.emit_note(Some(&image_node_name(image)), text);
        }
    }
}
