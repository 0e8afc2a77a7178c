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
        rows.line(Table::UserProfiles)
            .text(&person.user)
            .text(&person.name)
            .text(&person.email)
            .text(&person.title)
            .text(&person.phone)
            .plain(person.app.stored())
            .plain(true)
            .instant(person.saved_at)
            .instant(person.saved_at);
        let updated = ProfileUpdated {
            user_id: person.user.clone(),
            full_name: person.name.clone(),
            email: person.email.clone(),
            default_app: person.app.name().to_owned(),
            notifications_enabled: true,
            updated_by: person.user.clone(),
            updated_at: person.saved_at,
        };
        let place = Place {
            kind: PERSON,
            index: person.index,
            step: 0,
        };
        self.tell(
            rows,
            (
                Service::Profile,
                self.first.profile_event + person.index,
                place,
            ),
            &updated,
            (Cause::Request, person.saved_at),
            None,
        );
    }
}
