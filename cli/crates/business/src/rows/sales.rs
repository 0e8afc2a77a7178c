//! Leads and clients.

use dm_contracts::events::LeadConverted;

use super::copy::Line;
use super::events::{Cause, Place};
use super::table::{Service, Table};
use super::{Clerk, Rows};
use crate::facts::{Lead, LeadEnd};

/// Among the kinds of facts.
const LEAD: u64 = 1;

impl Clerk {
    pub(super) fn lead(&self, rows: &mut Rows, lead: &Lead) {
        let lead_id = format!("lead_{}", self.first.lead + lead.index);
        let client_id = match lead.end {
            LeadEnd::Converted { client } => Some(self.client_id(client)),
            _ => None,
        };
        let converted_at = client_id.as_ref().map(|_| lead.updated_at);
        rows.line(Table::Leads)
            .plain(&lead_id)
            .text(&lead.company)
            .text(&lead.contact)
            .text(&lead.email)
            .text(&lead.phone)
            .plain(lead.end.status())
            .text(&lead.notes)
            .text(&lead.seller)
            .instant(lead.created_at)
            .instant(lead.updated_at)
            .maybe(client_id.as_ref(), Line::plain)
            .maybe(converted_at, Line::instant);
        let Some(client_id) = client_id else {
            return;
        };
        rows.line(Table::Clients)
            .plain(&client_id)
            .plain(&lead_id)
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
        let place = Place {
            kind: LEAD,
            index: lead.index,
            step: 0,
        };
        self.tell(
            rows,
            (Service::Sales, self.first.sales_event + lead.index, place),
            &converted,
            (Cause::Request, lead.updated_at),
            None,
        );
    }

    pub(super) fn client_id(&self, client: u64) -> String {
        format!("client_{}", self.first.client + client)
    }
}
