//! Domain rules.

mod event_data;
mod notification;

pub(crate) use event_data::MissingField;
pub(crate) use notification::{NotificationDecision, NotificationDraft, decide_notification};
