//! Tests of sessions, bearer tokens and `dm call` with the real realm. Each uses users of its own:
//! the smoke test runs at the same time.

use std::time::{Duration, Instant};

use dm_gateway_client::{
    BearerClient, BrowserSession, RequestFailure, TracedResponse, describe_failure,
};
use futures_util::StreamExt as _;
use libtest_mimic::Failed;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::secrets;
use super::stack::{
    REALM, TIMEOUT, address, block_on, client, dm, dm_command, dm_ok, endpoints, instance,
    keycloak_url,
};

/// The maximum time for which a disabled user keeps access.
const MAX_DISABLED_ACCESS: Duration = Duration::from_secs(60);

fn failed(failure: RequestFailure) -> Failed {
    describe_failure(&failure).into()
}

async fn sign_in(user: &str) -> Result<BrowserSession, Failed> {
    BrowserSession::sign_in(&endpoints(), user)
        .await
        .map_err(failed)
}

/// Returns the access token of a user.
fn token(user: &str) -> Result<String, Failed> {
    Ok(dm_ok(&["token", user, "--quiet"])?.trim().to_owned())
}

/// Returns the location of a redirect.
fn location(response: &TracedResponse) -> &str {
    response.headers[LOCATION].to_str().unwrap()
}

/// A bearer token opens every route of the gateway that its roles permit. A refusal names the
/// roles.
pub(crate) fn bearer_token_opens_every_route_of_its_role() -> Result<(), Failed> {
    let (manager, temp) = (token("jlevinson")?, token("rhoward")?);
    block_on(async {
        let client = client();
        let gateway = address("gateway");
        let api: Value = client
            .get(format!("{gateway}/v3/api-docs"))
            .send()
            .await?
            .json()
            .await?;
        let mut count = 0;
        for (path, verbs) in api["paths"].as_object().unwrap() {
            if !path.starts_with("/api/v1/") {
                continue;
            }
            let url = format!("{gateway}{}", path.replace(['{', '}'], ""));
            for (verb, operation) in verbs.as_object().unwrap() {
                let method: Method = verb.to_uppercase().parse()?;
                let what = format!("{method} {path}");
                let request = || client.request(method.clone(), &url);
                let anonymous = request().send().await?;
                assert_eq!(anonymous.status(), 401, "{what}");
                let permitted = request().bearer_auth(&manager).send().await?;
                let status = permitted.status().as_u16();
                assert!(
                    ![401, 403].contains(&status) && status < 500,
                    "{what}: {status}"
                );
                let refused = request().bearer_auth(&temp).send().await?;
                let status = refused.status().as_u16();
                match operation["x-roles"].as_array() {
                    Some(roles) => {
                        assert_eq!(status, 403, "{what}");
                        let body: Value = refused.json().await?;
                        let message = body["error"]["message"].as_str().unwrap();
                        for role in roles {
                            assert!(message.contains(role.as_str().unwrap()), "{message}");
                        }
                    }
                    None => assert!(![401, 403].contains(&status), "{what}: {status}"),
                }
                count += 1;
            }
        }
        assert!(count > 20, "{count}");
        Ok(())
    })
}

/// Switches a user on or off, as an administrator does.
async fn set_enabled(client: &Client, user: &str, enabled: bool) -> Result<(), Failed> {
    let keycloak = keycloak_url();
    let token: Value = client
        .post(format!(
            "{keycloak}/realms/master/protocol/openid-connect/token"
        ))
        .form(&[
            ("grant_type", "password"),
            ("client_id", "admin-cli"),
            ("username", "admin"),
            ("password", secrets::HARDEST),
        ])
        .send()
        .await?
        .error_for_status()?
        .json()
        .await?;
    let token = token["access_token"].as_str().unwrap();
    let users = format!("{keycloak}/admin/realms/{REALM}/users");
    let found: Value = client
        .get(&users)
        .query(&[("username", user), ("exact", "true")])
        .bearer_auth(token)
        .send()
        .await?
        .json()
        .await?;
    let mut changed = found[0].clone();
    changed["enabled"] = json!(enabled);
    let id = changed["id"].as_str().unwrap();
    client
        .put(format!("{users}/{id}"))
        .bearer_auth(token)
        .json(&changed)
        .send()
        .await?
        .error_for_status()?;
    Ok(())
}

/// A user whom an administrator disables loses a session, a bearer token and a stream within a
/// minute.
pub(crate) fn disabled_user_loses_access_within_a_minute() -> Result<(), Failed> {
    const USER: &str = "shudson";
    block_on(async {
        let session = sign_in(USER).await?;
        let bearer = BearerClient::sign_in(&endpoints(), USER)
            .await
            .map_err(failed)?;
        let order = json!({
            "clientId": "client_of_sessions",
            "requestedShipDate": "2030-01-31",
            "items": [{"sku": "NOT-IN-THE-CATALOGUE", "quantity": 1}],
        });
        let placed = session.post("/api/v1/orders").json(&order);
        let placed = placed.expect_status(201).await.map_err(failed)?;
        let order = placed.string_at("/orderId").map_err(failed)?;
        let path = format!("/api/v1/orders/{order}/timeline/stream");
        // Without a timeout: the stream has to be ended by the gateway.
        let stream = Client::builder().no_proxy().build()?;
        let stream = stream
            .get(format!("{}{path}", address("gateway")))
            .header(COOKIE, session.session_cookie().map_err(failed)?)
            .send()
            .await?;
        assert_eq!(stream.status(), 200);
        let mut stream = stream.bytes_stream();

        let client = client();
        set_enabled(&client, USER, false).await?;
        let disabled_at = Instant::now();
        let until_refused = async |is_session: bool| {
            loop {
                let me = "/api/v1/auth/me";
                let request = if is_session {
                    session.get(me)
                } else {
                    bearer.get(me)
                };
                let response = request.send().await.map_err(failed)?;
                let elapsed = disabled_at.elapsed();
                if response.status == 401 || elapsed > 2 * MAX_DISABLED_ACCESS {
                    return Ok::<_, Failed>(elapsed);
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let until_ended = async {
            let read = async { while stream.next().await.is_some() {} };
            let _ = tokio::time::timeout(2 * MAX_DISABLED_ACCESS, read).await;
            disabled_at.elapsed()
        };
        let (session_end, token_end, stream_end) =
            tokio::join!(until_refused(true), until_refused(false), until_ended);
        set_enabled(&client, USER, true).await?;
        for (what, time) in [
            ("session", session_end?),
            ("token", token_end?),
            ("stream", stream_end),
        ] {
            eprintln!("the {what} of a disabled user ended after {time:?}");
            assert!(time < MAX_DISABLED_ACCESS, "{what}: {time:?}");
        }
        // An enabled user can sign in again.
        sign_in(USER).await.map(drop)
    })
}

/// Returns whether a sign-in in this browser asks for the password.
async fn asks_for_password(session: &BrowserSession) -> Result<bool, Failed> {
    let begin = session.get("/oauth2/authorization/keycloak");
    let begin = begin.expect_status(302).await.map_err(failed)?;
    let page = session.get_from(location(&begin), "");
    let page = page.send().await.map_err(failed)?;
    Ok(page.status == 200 && page.body.contains("kc-form-login"))
}

/// Signing out keeps the session of the realm. Signing out everywhere ends it, and all sessions of
/// the user.
pub(crate) fn sign_out_everywhere_ends_the_sessions_of_the_realm() -> Result<(), Failed> {
    block_on(async {
        let (first, second) = (sign_in("abernard").await?, sign_in("abernard").await?);
        let me = async |session: &BrowserSession| {
            let response = session.get("/api/v1/auth/me").send().await;
            Ok::<_, Failed>(response.map_err(failed)?.status.as_u16())
        };
        let third = sign_in("abernard").await?;
        let out = third.get("/logout").expect_status(302).await;
        assert_eq!(location(&out.map_err(failed)?), "/");
        assert_eq!(me(&third).await?, 401);
        assert!(
            !asks_for_password(&third).await?,
            "the realm's session is gone"
        );
        assert_eq!(me(&first).await?, 200);

        let out = first.get("/logout/everywhere").expect_status(302).await;
        let out = out.map_err(failed)?;
        let at_realm = first.get_from(location(&out), "").expect_status(302).await;
        let at_realm = at_realm.map_err(failed)?;
        assert_eq!(location(&at_realm), format!("{}/", address("gateway")));
        assert_eq!(me(&first).await?, 401);
        assert_eq!(me(&second).await?, 401);
        assert!(asks_for_password(&first).await?);
        // The sessions of other browsers are ended in the background.
        let until = Instant::now() + TIMEOUT;
        while !asks_for_password(&second).await? {
            assert!(Instant::now() < until, "the realm's session has not ended");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    })
}

/// Activity extends a session and its cookie. The time by which clients distinguish logins stays.
pub(crate) fn activity_extends_a_session() -> Result<(), Failed> {
    block_on(async {
        let session = sign_in("pvance").await?;
        let me = async || session.get("/api/v1/auth/me").expect_status(200).await;
        let before = me().await.map_err(failed)?;
        assert!(before.headers.get(SET_COOKIE).is_none());
        // Activity sets the cookie again after 30 s at the earliest.
        let until = Instant::now() + TIMEOUT;
        let after = loop {
            let after = me().await.map_err(failed)?;
            if after.headers.contains_key(SET_COOKIE) {
                break after;
            }
            assert!(Instant::now() < until, "the cookie was not set again");
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        let cookie = after.headers[SET_COOKIE].to_str()?;
        for part in ["dmf_session", "HttpOnly", "SameSite=Lax", "Max-Age=1800"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        let (before, after) = (
            before.json().map_err(failed)?,
            after.json().map_err(failed)?,
        );
        assert_eq!(before["sessionExpiresAt"], after["sessionExpiresAt"]);
        assert_ne!(
            before["sessionIdleExpiresAt"],
            after["sessionIdleExpiresAt"]
        );
        Ok(())
    })
}

/// Pages on a loopback address lead to `localhost`, where the cookies are. The API works on both.
pub(crate) fn loopback_addresses_work_like_localhost() -> Result<(), Failed> {
    let localhost = address("gateway");
    let loopback = localhost.replace("localhost", "127.0.0.1");
    let token = token("ehannon")?;
    block_on(async {
        let browser = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        for path in ["/", "/portal", "/logout"] {
            let response = browser.get(format!("{loopback}{path}")).send().await?;
            assert_eq!(response.status(), 302, "{path}");
            assert_eq!(response.headers()[LOCATION], format!("{localhost}{path}"));
        }
        let me = browser.get(format!("{loopback}/api/v1/auth/me"));
        let me = me
            .bearer_auth(token)
            .header("origin", "http://127.0.0.1:3000")
            .send()
            .await?;
        assert_eq!(me.status(), 200);
        assert_eq!(
            me.headers()["access-control-allow-origin"],
            "http://127.0.0.1:3000"
        );
        Ok(())
    })
}

/// `dm call` signs in, calls a route, and reports a refusal with its reason and its exit code.
pub(crate) fn dm_call_prints_bodies_and_reports_refusals() -> Result<(), Failed> {
    let me: Value = serde_json::from_str(&dm_ok(&["call", "/auth/me", "--user", "tflenderson"])?)?;
    assert_eq!(me["userId"], "tflenderson");

    let order = r#"{"clientId":"client_of_dm_call","requestedShipDate":"2030-01-31",
        "items":[{"sku":"NOT-IN-THE-CATALOGUE","quantity":1}]}"#;
    for _ in 0..3 {
        let placed: Value = serde_json::from_str(&dm_ok(&["call", "orders", "-d", order])?)?;
        assert_eq!(placed["status"], "CREATED");
    }
    let path = "/orders?clientId=client_of_dm_call&limit=2";
    let orders: Vec<Value> = serde_json::from_str(&dm_ok(&["call", path, "--all"])?)?;
    assert_eq!(orders.len(), 3, "{orders:?}");
    let document: Value = serde_json::from_str(&dm_ok(&["call", path, "--all", "--json"])?)?;
    assert_eq!(document["schema"], "dm.call/1");
    assert_eq!(document["body"].as_array().map(Vec::len), Some(3));

    for (arguments, code, status, reason) in [
        (
            &["call", "/expenses", "--as", "pvance"][..],
            1,
            "403 Forbidden",
            "the token has none of accountant, manager",
        ),
        (
            &["call", "POST", "/orders", "--data", "{}"],
            1,
            "400 Bad Request",
            "Order request validation failed",
        ),
        (&["call", "/nothing"], 1, "404 Not Found", "No such path"),
    ] {
        let output = dm(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        // A long line is wrapped.
        let words: Vec<_> = stderr.split_whitespace().collect();
        let text = words.join(" ");
        for part in ["error[call-refused]", status, reason] {
            assert!(text.contains(part), "{part} is not in {stderr}");
        }
        let body: Value = serde_json::from_slice(&output.stdout)?;
        assert!(body["error"]["code"].is_string(), "{body}");
    }

    // The token has the same rights, and its use is printed beside it.
    let output = dm_command()
        .args(["--instance", instance(), "token", "jhalpert"])
        .output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("Authorization: Bearer"), "{stderr}");
    assert!(stderr.contains("call /auth/me --user jhalpert"), "{stderr}");
    assert_eq!(String::from_utf8(output.stdout)?.lines().count(), 1);
    Ok(())
}
