//! Rows of user profiles, avatars and app settings.

use dm_contracts::App;
use dm_contracts::events::ProfileUpdated;

use super::events::{EventCause, EventKey};
use super::table::{HistoryTable, ServiceName};
use super::{RowWriter, TableRows};
use crate::model::SavedProfile;

/// The kind in [`EventKey`].
const PROFILE_KIND: u64 = 5;

impl RowWriter {
    pub(super) fn write_profile(&self, rows: &mut TableRows, profile: &SavedProfile) {
        let SavedProfile {
            index,
            member,
            saved_at,
            avatar,
            portal_settings,
        } = profile;
        rows.begin_row(HistoryTable::UserProfiles)
            .text(&member.user)
            .text(&member.name)
            .text(&member.email)
            .text(&member.title)
            .text(&member.phone)
            .unescaped(member.app.stored_name())
            .unescaped(true)
            .instant(*saved_at)
            .instant(*saved_at);
        if let Some(avatar) = avatar {
            rows.begin_row(HistoryTable::Avatars)
                .text(&member.user)
                .bytes(avatar)
                .instant(*saved_at);
        }
        if let Some(settings) = portal_settings {
            rows.begin_row(HistoryTable::AppSettings)
                .text(&member.user)
                .unescaped(App::Portal.stored_name())
                .unescaped(1)
                .text(settings)
                .instant(*saved_at);
        }
        let updated = ProfileUpdated {
            user_id: member.user.clone(),
            full_name: member.name.clone(),
            email: member.email.clone(),
            default_app: member.app.name().to_owned(),
            notifications_enabled: true,
            updated_by: member.user.clone(),
            updated_at: *saved_at,
        };
        let key = EventKey {
            kind: PROFILE_KIND,
            index: *index,
            step: 0,
        };
        self.write_outbox_event(
            rows,
            (
                ServiceName::Profile,
                self.sequence_starts.profile_event + index,
                key,
            ),
            &updated,
            (EventCause::Request, *saved_at),
            None,
        );
    }
}
