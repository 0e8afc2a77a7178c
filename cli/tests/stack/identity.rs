//! Tests of the identity contract: the directory, the realm and the tokens.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ldap3::{LdapConnAsync, Scope, SearchEntry};
use serde_json::{Value, json};

use crate::harness::servers::http;
use crate::harness::{shared, shared::Shared};
use crate::secrets::HARDEST;
use crate::test_list;

test_list![
    token_contains_the_role_of_the_users_group,
    token_command_prints_only_the_token_to_stdout,
    token_command_with_a_wrong_password_shows_keycloaks_message,
    directory_contains_all_users_and_groups,
    directory_shows_passwords_only_to_the_administrator,
    realm_contains_its_settings_and_clients,
    realm_federation_maps_the_directory,
];

const REALM: &str = "scranton-branch";

/// User, first name, last name and group.
const USERS: [(&str, &str, &str, &str); 20] = [
    ("mscott", "Michael", "Scott", "management"),
    ("jlevinson", "Jan", "Levinson", "management"),
    ("jhalpert", "Jim", "Halpert", "sales"),
    ("dschrute", "Dwight", "Schrute", "sales"),
    ("pvance", "Phyllis", "Lapin-Vance", "sales"),
    ("shudson", "Stanley", "Hudson", "sales"),
    ("abernard", "Andy", "Bernard", "sales"),
    ("amartin", "Angela", "Martin", "accounting"),
    ("omartinez", "Oscar", "Martinez", "accounting"),
    ("kmalone", "Kevin", "Malone", "accounting"),
    ("pbeesly", "Pam", "Beesly", "admin_staff"),
    ("ehannon", "Erin", "Hannon", "admin_staff"),
    ("tflenderson", "Toby", "Flenderson", "hr"),
    ("kkapoor", "Kelly", "Kapoor", "support"),
    ("cbratton", "Creed", "Bratton", "support"),
    ("mpalmer", "Meredith", "Palmer", "support"),
    ("rhoward", "Ryan", "Howard", "temps"),
    ("dphilbin", "Darryl", "Philbin", "warehouse"),
    ("randerson", "Roy", "Anderson", "warehouse"),
    ("nick", "Nick", "IT", "it_support"),
];

/// The realm role of each group.
const ROLES: [(&str, Option<&str>); 9] = [
    ("management", Some("manager")),
    ("sales", Some("sales-associate")),
    ("accounting", Some("accountant")),
    ("admin_staff", Some("portal-user")),
    ("warehouse", Some("warehouse-operator")),
    ("it_support", Some("it-support")),
    ("hr", None),
    ("support", None),
    ("temps", None),
];

fn role(group: &str) -> Option<&'static str> {
    ROLES.iter().find(|(name, _)| *name == group).unwrap().1
}

/// Returns the claims of a token, decoded without `dm`.
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a token has three parts");
    serde_json::from_slice(&BASE64URL.decode(payload).unwrap()).unwrap()
}

async fn token_contains_the_role_of_the_users_group() {
    let shared = shared();
    for (user, first, last, group) in USERS {
        let token = || shared.project.dm(&["token", user, "--json"]).ok();
        // The first sign-in imports the user: of several at the same time, all have to succeed.
        let output = std::thread::scope(|scope| {
            let others = [scope.spawn(token), scope.spawn(token)];
            let output = token();
            for other in others {
                other.join().unwrap();
            }
            output
        });
        let document = output.document("dm.token/1");
        let claims = claims(document["access_token"].as_str().unwrap());
        assert_eq!(claims["preferred_username"], user);
        assert_eq!(claims["name"], format!("{first} {last}"));
        assert_eq!(claims["given_name"], first);
        assert_eq!(claims["email"], format!("{user}@dundermifflin.com"));
        let known_roles: BTreeSet<&str> = ROLES.iter().filter_map(|(_, role)| *role).collect();
        let roles: Vec<&str> = claims["realm_access"]["roles"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .filter(|role| known_roles.contains(role))
            .collect();
        let expected: Vec<&str> = role(group).into_iter().collect();
        assert_eq!(roles, expected, "{user}: {claims:#}");
    }
}

async fn token_command_prints_only_the_token_to_stdout() {
    let shared = shared();
    let jim = shared
        .project
        .dm(&["token", "jhalpert"])
        .ok()
        .stderr_contains("Jim Halpert: sales-associate");
    assert_eq!(jim.stdout.lines().count(), 1, "{jim}");
    shared
        .project
        .dm(&["token", "mscott"])
        .ok()
        .stderr_contains("Michael Scott: manager");
    shared
        .project
        .dm(&["token", "rhoward"])
        .ok()
        .stderr_contains("Ryan Howard: no role");

    // Keycloak accepts the token, and refuses one with a forged signature.
    let userinfo = format!(
        "{}/realms/{REALM}/protocol/openid-connect/userinfo",
        shared.servers.keycloak()
    );
    let userinfo_with = |token: String| http().get(&userinfo).bearer_auth(token).send();
    let answer: Value = userinfo_with(jim.text().to_owned())
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(answer["preferred_username"], "jhalpert");
    let (signed, _) = jim.text().rsplit_once('.').unwrap();
    let forged = userinfo_with(format!("{signed}.{}", BASE64URL.encode([0; 256])))
        .await
        .unwrap();
    assert_eq!(forged.status(), 401);
}

async fn token_command_with_a_wrong_password_shows_keycloaks_message() {
    let project = &shared().project;
    for (user, password) in [("jhalpert", "bears"), ("prisonmike", "password")] {
        let output = project
            .dm(&["token", user, "--password", password])
            .run()
            .exits(1);
        let output = output.stderr_contains("Invalid username or password");
        assert!(output.stdout.is_empty(), "{output}");
    }
}

async fn search(
    shared: &Shared,
    bind: Option<(&str, &str)>,
    base: &str,
    filter: &str,
) -> Result<Vec<SearchEntry>, ldap3::LdapError> {
    let url = format!("ldap://127.0.0.1:{}", shared.servers.openldap);
    let (connection, mut ldap) = LdapConnAsync::new(&url).await?;
    ldap3::drive!(connection);
    if let Some((user, password)) = bind {
        ldap.simple_bind(user, password).await?.success()?;
    }
    let base = format!("{base}dc=dundermifflin,dc=com");
    let attributes = vec!["*", "userPassword"];
    let (entries, _) = ldap
        .search(&base, Scope::Subtree, filter, attributes)
        .await?
        .success()?;
    Ok(entries.into_iter().map(SearchEntry::construct).collect())
}

const ADMIN: Option<(&str, &str)> = Some(("cn=admin,dc=dundermifflin,dc=com", HARDEST));

async fn directory_contains_all_users_and_groups() {
    let shared = shared();
    let users = search(shared, ADMIN, "ou=people,", "(objectClass=inetOrgPerson)")
        .await
        .unwrap();
    let found: BTreeSet<_> = users
        .iter()
        .map(|user_entry| ["uid", "givenName", "sn"].map(|name| user_entry.attrs[name].concat()))
        .collect();
    let expected: BTreeSet<_> = USERS
        .iter()
        .map(|(user, first, last, _)| [user, first, last].map(|&text| text.to_owned()))
        .collect();
    assert_eq!(found, expected);
    for user_entry in &users {
        assert_eq!(
            user_entry.attrs["mail"],
            [format!("{}@dundermifflin.com", user_entry.attrs["uid"][0])]
        );
    }

    let groups = search(shared, ADMIN, "ou=groups,", "(objectClass=groupOfNames)")
        .await
        .unwrap();
    let found: BTreeMap<String, BTreeSet<String>> = groups
        .into_iter()
        .map(|mut group| {
            let members = group.attrs.remove("member").unwrap();
            (group.attrs["cn"].concat(), members.into_iter().collect())
        })
        .collect();
    let mut expected: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (user, _, _, group) in USERS {
        let member = format!("uid={user},ou=people,dc=dundermifflin,dc=com");
        expected.entry(group.to_owned()).or_default().insert(member);
    }
    assert_eq!(found, expected);
}

async fn directory_shows_passwords_only_to_the_administrator() {
    let shared = shared();
    let has_password = |users: &[SearchEntry]| {
        users.iter().any(|user_entry| {
            user_entry.attrs.contains_key("userPassword")
                || user_entry.bin_attrs.contains_key("userPassword")
        })
    };
    let filter = "(uid=jhalpert)";
    let admin = search(shared, ADMIN, "ou=people,", filter).await.unwrap();
    assert!(
        has_password(&admin),
        "the search does not find the password even as administrator: {admin:?}"
    );
    // The search may be refused or return entries without a password.
    let anonymous = search(shared, None, "ou=people,", filter)
        .await
        .unwrap_or_default();
    assert!(!has_password(&anonymous));
    let dwight = "uid=dschrute,ou=people,dc=dundermifflin,dc=com";
    let other = search(shared, Some((dwight, "password")), "ou=people,", filter)
        .await
        .unwrap();
    assert!(!has_password(&other));
    assert!(
        search(shared, Some((dwight, "beets")), "ou=people,", filter)
            .await
            .is_err()
    );
}

/// Returns an answer of Keycloak's admin API.
async fn admin(shared: &Shared, path: &str) -> Value {
    let base = shared.servers.keycloak();
    let form = [
        ("grant_type", "password"),
        ("client_id", "admin-cli"),
        ("username", "admin"),
        ("password", HARDEST),
    ];
    let token = format!("{base}/realms/master/protocol/openid-connect/token");
    let answer = http().post(token).form(&form).send().await.unwrap();
    let tokens: Value = answer.error_for_status().unwrap().json().await.unwrap();
    let answer = http()
        .get(format!("{base}/admin/realms/{REALM}{path}"))
        .bearer_auth(tokens["access_token"].as_str().unwrap())
        .send()
        .await
        .unwrap();
    answer.error_for_status().unwrap().json().await.unwrap()
}

fn find_by<'a>(list: &'a Value, key: &str, name: &str) -> &'a Value {
    list.as_array()
        .and_then(|list| list.iter().find(|entry| entry[key] == name))
        .unwrap_or_else(|| panic!("there is no {name}: {list:#}"))
}

fn string_set(list: &Value) -> BTreeSet<&str> {
    list.as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect()
}

async fn realm_contains_its_settings_and_clients() {
    let shared = shared();
    let realm = admin(shared, "").await;
    for (flag, value) in [
        ("displayName", json!("Dunder Mifflin Scranton")),
        ("enabled", json!(true)),
        ("registrationAllowed", json!(false)),
        ("loginWithEmailAllowed", json!(true)),
        ("rememberMe", json!(true)),
        ("resetPasswordAllowed", json!(false)),
    ] {
        assert_eq!(realm[flag], value, "{flag}");
    }
    let clients = admin(shared, "/clients").await;
    let hosts = ["localhost", "host.docker.internal"];
    let at = |port: u16, path: &str| hosts.map(|host| format!("http://{host}:{port}{path}"));
    let gateway: Vec<String> = [
        &at(8081, "/*")[..],
        // Any port of localhost, for the gateways of parallel instances.
        &[
            "http://localhost/*".into(),
            "http://localhost:5173/*".into(),
        ],
    ]
    .concat();
    let mobile: Vec<String> = [
        &at(3004, "/*")[..],
        &["exp://*".into(), "dundermifflin://*".into()],
    ]
    .concat();
    let grafana: Vec<String> = at(3005, "/login/generic_oauth").to_vec();
    for (name, secret, redirects) in [
        ("dunder-mifflin-gateway", Some(HARDEST), gateway),
        ("warehouse-mobile", None, mobile),
        ("dunder-observability", Some(HARDEST), grafana),
    ] {
        let client = find_by(&clients, "clientId", name);
        assert_eq!(client["publicClient"], secret.is_none(), "{name}");
        assert_eq!(client["standardFlowEnabled"], true, "{name}");
        assert_eq!(client["directAccessGrantsEnabled"], false, "{name}");
        assert_eq!(client["serviceAccountsEnabled"], false, "{name}");
        let redirects: BTreeSet<&str> = redirects.iter().map(String::as_str).collect();
        assert_eq!(string_set(&client["redirectUris"]), redirects, "{name}");
        if let Some(secret) = secret {
            let id = client["id"].as_str().unwrap();
            let stored = admin(shared, &format!("/clients/{id}/client-secret")).await;
            assert_eq!(stored["value"], secret, "{name}");
        }
    }
    let mobile = find_by(&clients, "clientId", "warehouse-mobile");
    assert_eq!(mobile["attributes"]["pkce.code.challenge.method"], "S256");
    let mappers = &find_by(&clients, "clientId", "dunder-observability")["protocolMappers"];
    for (name, mapper, claim) in [
        ("realm-roles", "oidc-usermodel-realm-role-mapper", "roles"),
        ("groups", "oidc-group-membership-mapper", "groups"),
    ] {
        let stored = find_by(mappers, "name", name);
        assert_eq!(stored["protocolMapper"], mapper);
        assert_eq!(stored["config"]["claim.name"], claim);
        for token in [
            "id.token.claim",
            "access.token.claim",
            "userinfo.token.claim",
        ] {
            assert_eq!(stored["config"][token], "true", "{name} {token}");
        }
    }
}

async fn realm_federation_maps_the_directory() {
    let shared = shared();
    let realm = admin(shared, "").await;
    let federations = admin(
        shared,
        "/components?type=org.keycloak.storage.UserStorageProvider",
    )
    .await;
    let ldap = find_by(&federations, "name", "dunder-ldap");
    // Keycloak uses the federation only if its parent is the realm.
    assert_eq!(ldap["parentId"], realm["id"]);
    for (key, value) in [
        ("connectionUrl", "ldap://openldap:389"),
        ("usersDn", "ou=people,dc=dundermifflin,dc=com"),
        ("editMode", "READ_ONLY"),
        ("usernameLDAPAttribute", "uid"),
        ("uuidLDAPAttribute", "entryUUID"),
    ] {
        assert_eq!(ldap["config"][key], json!([value]), "{key}");
    }
    let id = ldap["id"].as_str().unwrap();
    let mappers = admin(shared, &format!("/components?parent={id}")).await;
    for (name, attribute, model) in [
        ("username", "uid", "username"),
        ("email", "mail", "email"),
        ("first name", "givenName", "firstName"),
        ("last name", "sn", "lastName"),
    ] {
        let mapper = find_by(&mappers, "name", name);
        assert_eq!(
            mapper["config"]["ldap.attribute"],
            json!([attribute]),
            "{name}"
        );
        assert_eq!(
            mapper["config"]["user.model.attribute"],
            json!([model]),
            "{name}"
        );
    }
    assert_eq!(
        find_by(&mappers, "name", "groups")["providerId"],
        "group-ldap-mapper"
    );

    let groups = admin(shared, "/groups").await;
    assert_eq!(groups.as_array().map(Vec::len), Some(ROLES.len()));
    for (name, role) in ROLES {
        let id = find_by(&groups, "name", name)["id"].as_str().unwrap();
        let roles = admin(shared, &format!("/groups/{id}/role-mappings/realm")).await;
        let roles: Vec<&str> = roles
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|role| role["name"].as_str())
            .collect();
        let expected: Vec<&str> = role.into_iter().collect();
        assert_eq!(roles, expected, "{name}");
    }
}
