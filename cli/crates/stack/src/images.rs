//! Tells of images under way as nodes of the graph.

use std::collections::BTreeSet;
use std::sync::Mutex;

use dm_images::{BASE, Progress, Update};

use super::event::NodeState;
use super::executor::Emitter;

/// The name of the node that gets a component's image.
#[must_use]
pub(crate) fn node(component: &str) -> String {
    format!("{component}-image")
}

/// Sends what is told of images as events of their nodes.
///
/// The base image has no node of its own, since nobody asks for it: what is
/// told of it goes to every image that has not begun with its own work.
#[derive(Debug)]
pub struct NodeProgress {
    emitter: Emitter,
    waiting: Mutex<BTreeSet<String>>,
    told: Mutex<BTreeSet<String>>,
}

impl NodeProgress {
    /// Progress that goes to this emitter.
    #[must_use]
    pub fn new(emitter: Emitter) -> Self {
        Self {
            emitter,
            waiting: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// Names the images that are about to be obtained.
    pub fn expect(&self, components: &[String]) {
        if let Ok(mut waiting) = self.waiting.lock() {
            waiting.extend(components.iter().cloned());
        }
    }
}

impl Progress for NodeProgress {
    fn working(&self, image: &str, update: Update) {
        let update_is_own = update.doing != "pulling";
        let state = NodeState::from(update);
        let Ok(mut waiting) = self.waiting.lock() else {
            return;
        };
        if image == BASE {
            for component in waiting.iter() {
                self.emitter.node(&node(component), state.clone());
            }
        } else {
            // Whoever finds no registry goes on to wait for the base.
            if update_is_own {
                waiting.remove(image);
            }
            self.emitter.node(&node(image), state);
        }
    }

    fn note(&self, image: &str, text: String) {
        // What holds for the base is told once for every image on top of it.
        let first = self
            .told
            .lock()
            .is_ok_and(|mut told| told.insert(format!("{image} {text}")));
        if first {
            self.emitter.note(Some(&node(image)), text);
        }
    }
}
