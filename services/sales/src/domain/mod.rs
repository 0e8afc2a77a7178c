//! Domain rules.

mod conversion;
mod lead;

pub(crate) use dm_contracts::api::sales::LeadStatus;

pub(crate) use conversion::{Conversion, ConvertedClient, NotQualified, check_conversion};
pub(crate) use lead::{LeadPatch, LeadUpdate, NewLead};
