//! Rows of leads and clients.

use dm_contracts::events::LeadConverted;

use super::copy_format::CopyRow;
use super::events::{EventCause, EventKey};
use super::table::{HistoryTable, ServiceName};
use super::{RowWriter, TableRows};
use crate::model::{Lead, LeadOutcome};

/// The kind in [`EventKey`].
const LEAD_KIND: u64 = 1;

impl RowWriter {
    pub(super) fn write_lead(&self, rows: &mut TableRows, lead: &Lead) {
        let lead_id = format!("lead_{}", self.sequence_starts.lead + lead.index);
        let client_id = match lead.outcome {
            LeadOutcome::Converted { client_index } => Some(self.client_id(client_index)),
            _ => None,
        };
        let converted_at = client_id.as_ref().map(|_| lead.updated_at);
        rows.begin_row(HistoryTable::Leads)
            .unescaped(&lead_id)
            .text(&lead.company)
            .text(&lead.contact)
            .text(&lead.email)
            .text(&lead.phone)
            .unescaped(lead.outcome.status())
            .text(&lead.notes)
            .text(&lead.seller)
            .instant(lead.created_at)
            .instant(lead.updated_at)
            .optional(client_id.as_ref(), CopyRow::unescaped)
            .optional(converted_at, CopyRow::instant);
        let Some(client_id) = client_id else {
            return;
        };
        rows.begin_row(HistoryTable::Clients)
            .unescaped(&client_id)
            .unescaped(&lead_id)
            .text(&lead.company)
            .text(&lead.contact)
            .text(&lead.email)
            .text(&lead.phone)
            .text(&lead.seller)
            .instant(lead.updated_at);
        let converted = LeadConverted {
            lead_id,
            client_id,
            company_name: lead.company.clone(),
            contact_name: lead.contact.clone(),
            contact_email: lead.email.clone(),
            converted_by: lead.seller.clone(),
            converted_at: lead.updated_at,
        };
        let key = EventKey {
            kind: LEAD_KIND,
            index: lead.index,
            step: 0,
        };
        self.write_outbox_event(
            rows,
            (
                ServiceName::Sales,
                self.sequence_starts.sales_event + lead.index,
                key,
            ),
            &converted,
            (EventCause::Request, lead.updated_at),
            None,
        );
    }

    pub(super) fn client_id(&self, client_index: u64) -> String {
        format!("client_{}", self.sequence_starts.client + client_index)
    }
}
