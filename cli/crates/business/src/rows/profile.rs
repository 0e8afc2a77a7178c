//! People.

use dm_contracts::events::ProfileUpdated;

use super::events::{Cause, Place};
use super::table::{Service, Table};
use super::{Clerk, Rows};
use crate::facts::Person;

/// Among the kinds of facts.
const PERSON: u64 = 5;

impl Clerk {
    pub(super) fn person(&self, rows: &mut Rows, person: &Person) {
        let Person {
            index,
            member,
            saved_at,
        } = person;
        rows.line(Table::UserProfiles)
            .text(&member.user)
            .text(&member.name)
            .text(&member.email)
            .text(&member.title)
            .text(&member.phone)
            .plain(member.app.stored())
            .plain(true)
            .instant(*saved_at)
            .instant(*saved_at);
        let updated = ProfileUpdated {
            user_id: member.user.clone(),
            full_name: member.name.clone(),
            email: member.email.clone(),
            default_app: member.app.name().to_owned(),
            notifications_enabled: true,
            updated_by: member.user.clone(),
            updated_at: *saved_at,
        };
        let place = Place {
            kind: PERSON,
            index: *index,
            step: 0,
        };
        self.tell(
            rows,
            (Service::Profile, self.first.profile_event + index, place),
            &updated,
            (Cause::Request, *saved_at),
            None,
        );
    }
}
