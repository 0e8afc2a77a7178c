//! Domain rules.

mod conversion;
mod lead;
mod status;

pub(crate) use conversion::{Conversion, ConvertedClient, NotQualified, check_conversion};
pub(crate) use lead::{LeadPatch, LeadUpdate, NewLead};
pub(crate) use status::LeadStatus;
