//! The rules.

mod conversion;
mod lead;
mod status;

pub(crate) use conversion::{Conversion, Converted, NotQualified, conversion};
pub(crate) use lead::{Change, NewLead, PartialChange};
pub(crate) use status::LeadStatus;
