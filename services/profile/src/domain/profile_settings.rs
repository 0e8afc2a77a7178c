//! The part of a profile that a user can change.

use dm_contracts::App;
use dm_contracts::api::error::FieldIssue;
use dm_contracts::api::profile::{SavePerson, SavePreferences, SaveProfile};
use dm_contracts::validation::{MAX_EMAIL_LENGTH, MAX_LINE_LENGTH};
use dm_kit::http::{FieldIssues, trimmed};

/// The validated settings of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProfileSettings {
    pub(crate) full_name: String,
    pub(crate) email: String,
    pub(crate) title: String,
    pub(crate) phone: String,
    pub(crate) default_app: App,
    pub(crate) notifications_enabled: bool,
}

impl ProfileSettings {
    /// Returns the initial settings of a user.
    pub(crate) fn initial(user_id: &str, display_name: Option<&str>) -> Self {
        Self {
            full_name: display_name.unwrap_or(user_id).to_owned(),
            email: format!("{user_id}@dundermifflin.local"),
            title: String::new(),
            phone: String::new(),
            default_app: App::Portal,
            notifications_enabled: true,
        }
    }

    /// Validates a request.
    ///
    /// # Errors
    /// Returns an issue for each invalid field.
    pub(crate) fn from_request(request: Option<SaveProfile>) -> Result<Self, Vec<FieldIssue>> {
        let request =
            request.ok_or_else(|| vec![FieldIssue::new("body", "request body is required")])?;
        let mut issues = FieldIssues::default();
        let person = match &request.profile {
            Some(person) => validate_person(&mut issues, person),
            None => {
                issues.add("profile", "profile object is required");
                ValidPerson::default()
            }
        };
        let preferences = match &request.preferences {
            Some(preferences) => validate_preferences(&mut issues, preferences),
            None => {
                issues.add("preferences", "preferences object is required");
                None
            }
        };
        // Only a placeholder: without preferences there is an issue.
        let (default_app, notifications_enabled) = preferences.unwrap_or((App::Portal, true));
        issues.into_result(Self {
            full_name: person.full_name,
            email: person.email,
            title: person.title,
            phone: person.phone,
            default_app,
            notifications_enabled,
        })
    }
}

#[derive(Default)]
struct ValidPerson {
    full_name: String,
    email: String,
    title: String,
    phone: String,
}

fn validate_person(issues: &mut FieldIssues, person: &SavePerson) -> ValidPerson {
    let full_name = issues.required_text(
        "profile.fullName",
        person.full_name.as_deref(),
        "fullName is required",
    );
    let email = issues.required_email(
        "profile.email",
        person.email.as_deref(),
        "email is required",
        "email must be valid",
    );
    let title = trimmed(person.title.as_deref());
    let phone = trimmed(person.phone.as_deref());
    for (field, text, max) in [
        ("fullName", &person.full_name, MAX_LINE_LENGTH),
        ("email", &person.email, MAX_EMAIL_LENGTH),
        ("title", &person.title, MAX_LINE_LENGTH),
        ("phone", &person.phone, MAX_LINE_LENGTH),
    ] {
        let text = text.as_deref().unwrap_or_default();
        let issue = format!("{field} must have at most {max} characters");
        issues.check_length(&format!("profile.{field}"), text, max, issue);
    }
    ValidPerson {
        full_name,
        email,
        title,
        phone,
    }
}

/// Returns both preferences, or `None` after adding at least one issue.
fn validate_preferences(
    issues: &mut FieldIssues,
    preferences: &SavePreferences,
) -> Option<(App, bool)> {
    const APP: &str = "preferences.defaultApp";
    let name = issues.required_text(
        APP,
        preferences.default_app.as_deref(),
        "defaultApp is required",
    );
    let app = App::from_name(&name);
    if !name.is_empty() && app.is_none() {
        let names = App::ALL.map(App::name).join(", ");
        issues.add(APP, format!("defaultApp must be one of: {names}"));
    }
    if preferences.notifications_enabled.is_none() {
        issues.add(
            "preferences.notificationsEnabled",
            "notificationsEnabled is required",
        );
    }
    app.zip(preferences.notifications_enabled)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn parse(body: Value) -> Result<ProfileSettings, Vec<(String, String)>> {
        ProfileSettings::from_request(serde_json::from_value(body).unwrap()).map_err(|issues| {
            issues
                .into_iter()
                .map(|FieldIssue { field, issue }| (field, issue))
                .collect()
        })
    }

    fn issue(field: &str, issue: &str) -> (String, String) {
        (field.to_owned(), issue.to_owned())
    }

    fn valid_request() -> Value {
        json!({
            "profile": {"fullName": " Jim ", "email": " j@d ", "title": " rep", "phone": null},
            "preferences": {"defaultApp": " Warehouse-MOBILE", "notificationsEnabled": false},
        })
    }

    #[test]
    fn initial_settings_use_display_name_or_user_id() {
        let named = ProfileSettings::initial("jhalpert", Some("Jim Halpert"));
        assert_eq!(
            named,
            ProfileSettings {
                full_name: "Jim Halpert".into(),
                email: "jhalpert@dundermifflin.local".into(),
                title: String::new(),
                phone: String::new(),
                default_app: App::Portal,
                notifications_enabled: true,
            }
        );
        assert_eq!(
            ProfileSettings::initial("jhalpert", None).full_name,
            "jhalpert"
        );
    }

    #[test]
    fn text_above_the_maximum_length_is_an_issue() {
        let mut body = valid_request();
        body["profile"]["fullName"] = json!("x".repeat(201));
        body["profile"]["title"] = json!("\u{e9}".repeat(200));
        body["profile"]["phone"] = json!(format!("{} ", "5".repeat(200)));
        assert_eq!(
            parse(body),
            Err(vec![
                issue(
                    "profile.fullName",
                    "fullName must have at most 200 characters"
                ),
                issue("profile.phone", "phone must have at most 200 characters"),
            ])
        );
    }

    #[test]
    fn texts_are_trimmed_and_app_names_ignore_case() {
        assert_eq!(
            parse(valid_request()),
            Ok(ProfileSettings {
                full_name: "Jim".into(),
                email: "j@d".into(),
                title: "rep".into(),
                phone: String::new(),
                default_app: App::WarehouseMobile,
                notifications_enabled: false,
            })
        );
    }

    #[test]
    fn missing_object_is_one_issue_without_its_fields() {
        assert_eq!(
            parse(json!(null)),
            Err(vec![issue("body", "request body is required")])
        );
        for body in [json!({}), json!({"profile": null, "preferences": null})] {
            assert_eq!(
                parse(body),
                Err(vec![
                    issue("profile", "profile object is required"),
                    issue("preferences", "preferences object is required"),
                ])
            );
        }
    }

    #[test]
    fn each_invalid_field_is_an_issue() {
        for body in [
            json!({"profile": {}, "preferences": {}}),
            json!({
                "profile": {"fullName": " ", "email": ""},
                "preferences": {"defaultApp": " ", "notificationsEnabled": null},
            }),
        ] {
            assert_eq!(
                parse(body),
                Err(vec![
                    issue("profile.fullName", "fullName is required"),
                    issue("profile.email", "email is required"),
                    issue("preferences.defaultApp", "defaultApp is required"),
                    issue(
                        "preferences.notificationsEnabled",
                        "notificationsEnabled is required"
                    ),
                ])
            );
        }
        let mut body = valid_request();
        body["profile"]["email"] = json!("jim");
        body["preferences"]["defaultApp"] = json!("grafana");
        assert_eq!(
            parse(body),
            Err(vec![
                issue("profile.email", "email must be valid"),
                issue(
                    "preferences.defaultApp",
                    "defaultApp must be one of: portal, infinity, warehouse-mobile, accounting"
                ),
            ])
        );
    }

    proptest! {
        /// Accepted settings have the values of the request, without defaults.
        #[test]
        fn accepted_settings_equal_the_request(
            app in proptest::option::of("(portal|infinity|ACCOUNTING|x| )"),
            enabled: Option<bool>,
            email in proptest::option::of("[ a@]{0,4}"),
        ) {
            let body = json!({
                "profile": {"fullName": "x", "email": email},
                "preferences": {"defaultApp": app, "notificationsEnabled": enabled},
            });
            match parse(body) {
                Ok(settings) => {
                    prop_assert_eq!(Some(settings.notifications_enabled), enabled);
                    let app = app.unwrap_or_default().to_lowercase();
                    prop_assert_eq!(settings.default_app.name(), app.as_str());
                    let email = email.unwrap_or_default();
                    prop_assert_eq!(settings.email.as_str(), email.trim());
                }
                Err(issues) => prop_assert!(!issues.is_empty()),
            }
        }
    }
}
