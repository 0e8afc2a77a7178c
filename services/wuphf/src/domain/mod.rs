//! Domain rules.

mod event_data;
mod notification;

pub(crate) use event_data::InvalidField;
pub(crate) use notification::{NotificationDecision, NotificationDraft, decide_notification};
