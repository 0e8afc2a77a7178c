//! Tests of requests that services must refuse or withstand: never with a status of 500, and
//! always with the error envelope of the contract.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use reqwest::Method;
use serde_json::{Value, json};

use super::faults::memory;
use super::flow::place_order;
use super::stack::{
    REALM, SERVICES, TIMEOUT, address, block_on, client, eventually, gateway_secret, request, sql,
};

const ENDPOINTS: [(&str, &str); 10] = [
    ("profile", "/internal/profile/me"),
    ("sales", "/internal/sales/leads"),
    ("sales", "/internal/sales/leads/lead_1"),
    ("sales", "/internal/sales/leads/lead_1/convert"),
    ("order", "/internal/orders"),
    ("order", "/internal/orders/ord_1/cancel"),
    ("inventory", "/internal/shipments/ship_1/scan"),
    ("inventory", "/internal/shipments/ship_1/dispatch"),
    ("finance", "/internal/expenses"),
    ("finance", "/internal/expenses/exp_1/decision"),
];

/// Asserts that an answer is a refusal with the error envelope of the contract.
fn assert_refused(what: &str, status: u16, body: &str) {
    assert!((400..500).contains(&status), "{what}: {status} {body}");
    let body: Value =
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{what}: {error}: {body}"));
    for field in ["code", "message", "traceId"] {
        assert!(body["error"][field].is_string(), "{what}: {body}");
    }
    let text = body.to_string().to_lowercase();
    for leak in ["sqlx", "postgres", "panicked", "constraint", "serde"] {
        assert!(!text.contains(leak), "{what} reveals {leak}: {text}");
    }
}

/// Keycloak refuses a sign-in without PKCE for the clients of this stack's apps. Otherwise, a web
/// page that knows a client's default secret could run its own flow.
pub(crate) fn keycloak_refuses_a_sign_in_without_pkce() -> Result<(), Failed> {
    let mut begin = url::Url::parse(address("keycloak"))?;
    begin.set_path(&format!("/realms/{REALM}/protocol/openid-connect/auth"));
    let browser = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    block_on(async {
        for (client, redirect) in [
            ("dunder-mifflin-gateway", "http://localhost:8081/"),
            ("warehouse-mobile", "http://localhost:3004/"),
        ] {
            let query = [
                ("client_id", client),
                ("redirect_uri", redirect),
                ("response_type", "code"),
                ("scope", "openid"),
                ("state", "s"),
            ];
            let answer = browser.get(begin.clone()).query(&query).send().await?;
            assert_eq!(answer.status(), 302, "{client}");
            let location = answer.headers()["location"].to_str()?;
            assert!(
                location.contains("error=invalid_request")
                    && location.contains("code_challenge_method"),
                "{client}: {location}"
            );
            let challenge = [
                ("code_challenge_method", "S256"),
                (
                    "code_challenge",
                    "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
                ),
            ];
            let answer = browser.get(begin.clone()).query(&query).query(&challenge);
            let answer = answer.send().await?;
            assert_eq!(answer.status(), 200, "{client} shows its login form");
        }
        Ok(())
    })
}

/// Malformed bodies.
pub(crate) fn services_reject_malformed_bodies_with_the_error_envelope() -> Result<(), Failed> {
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    let huge = format!("{{\"notes\":\"{}\"}}", "x".repeat(2 << 20));
    let bodies: [&[u8]; 14] = [
        b"",
        b"null",
        b"{",
        b"[]",
        b"7",
        b"\"text\"",
        b"{}",
        b"\xff\xfe{}",
        b"{\"companyName\":\"\\u0000\"}",
        b"{\"items\":{},\"amount\":\"x\",\"quantity\":\"y\",\"status\":5,\"profile\":7}",
        b"{\"clientId\":\"'; DROP TABLE orders; --\",\"quantity\":1e400}",
        b"{\"quantity\":99999999999999999999,\"amount\":-1}",
        deep.as_bytes(),
        huge.as_bytes(),
    ];
    block_on(async {
        // A body that is too large closes its connection, so the next request needs another one.
        let client = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .build()
            .unwrap();
        for (service, path) in ENDPOINTS {
            // Some endpoints take no body, and the lead, shipment and expense do not exist.
            for body in bodies {
                let answer = request(&client, Method::POST, service, path)
                    .header("idempotency-key", "malformed")
                    .header("content-type", "application/json")
                    .body(body.to_vec())
                    .send()
                    .await;
                let what = format!("POST {path} {:?}", &body[..body.len().min(40)]);
                let answer = match answer {
                    Ok(answer) => answer,
                    // The service closes the connection of a body that is too large, perhaps
                    // before its answer is read.
                    Err(_) if body.len() > 1 << 20 => continue,
                    Err(error) => panic!("{what}: {error}"),
                };
                let status = answer.status().as_u16();
                assert_refused(&what, status, &answer.text().await.unwrap());
            }
        }
    });
    Ok(())
}

/// Malformed paths and queries, and a method that is not allowed. Trace headers are returned.
pub(crate) fn services_reject_malformed_paths_with_the_error_envelope() -> Result<(), Failed> {
    let malformed = [
        ("order", "/internal/orders/%00"),
        ("order", "/internal/orders/ord_1%2F..%2Fx"),
        ("order", "/internal/orders/'%20OR%201=1"),
        ("order", "/internal/orders/%ff/timeline"),
        ("sales", "/internal/sales/leads/%E2%82%AC"),
        ("sales", "/internal/sales/leads?status=new"),
        ("finance", "/internal/expenses?status=PAID"),
        ("inventory", "/internal/shipments?status=DISPATCHED"),
        ("wuphf", "/internal/notifications?unreadOnly=perhaps"),
        ("profile", "/internal/nothing"),
    ];
    block_on(async {
        let client = client();
        for (service, path) in malformed {
            let answer = request(&client, Method::GET, service, path)
                .send()
                .await
                .unwrap();
            let status = answer.status().as_u16();
            assert_refused(path, status, &answer.text().await.unwrap());
        }
        for service in SERVICES {
            let not_allowed = request(&client, Method::DELETE, service, "/health/ready")
                .send()
                .await
                .unwrap();
            assert_eq!(not_allowed.status(), 405, "{service}");
            let traced = request(&client, Method::GET, service, "/health/ready")
                .header("x-trace-id", "0AF7651916CD43DD8448EB211C80319C")
                .header("x-request-id", "my-request.7")
                .send()
                .await
                .unwrap();
            let header = |name| traced.headers()[name].to_str().unwrap().to_owned();
            assert_eq!(header("x-trace-id"), "0af7651916cd43dd8448eb211c80319c");
            assert_eq!(header("x-request-id"), "my-request.7");
            assert!(header("traceparent").starts_with("00-"), "{service}");
        }
    });
    Ok(())
}

/// Each service describes at least one endpoint and exports metrics.
pub(crate) fn services_publish_an_openapi_document_and_metrics() -> Result<(), Failed> {
    block_on(async {
        let client = client();
        for service in SERVICES {
            let get = |path| request(&client, Method::GET, service, path).send();
            let api: Value = get("/v3/api-docs").await.unwrap().json().await.unwrap();
            let paths = api["paths"].as_object().unwrap();
            assert!(
                paths.keys().any(|path| path.starts_with("/internal/")),
                "{service}"
            );
            let metrics = get("/metrics").await.unwrap().text().await.unwrap();
            assert!(
                metrics.contains("outbox_relaying 1"),
                "{service}: {metrics}"
            );
        }
    });
    Ok(())
}

/// A service accepts only the gateway's secret, and only requests to its own host name.
pub(crate) fn services_reject_requests_without_the_gateway_secret() -> Result<(), Failed> {
    block_on(async {
        let client = client();
        let paths = [
            "/internal/orders",
            "/internal/expenses",
            "/internal/nothing",
        ];
        for service in SERVICES {
            let get = |path: &str| {
                let url = format!("{}{path}", address(service));
                client.get(url).header("x-user-id", "mscott")
            };
            for path in paths {
                for secret in ["", "x", &gateway_secret()[1..]] {
                    let answer = get(path).header("x-gateway-secret", secret).send();
                    let answer = answer.await.unwrap();
                    assert_eq!(answer.status(), 401, "{service} {path}");
                    assert_refused(path, 401, &answer.text().await.unwrap());
                }
            }
            for path in ["/internal/orders", "/health/ready", "/metrics"] {
                let answer = get(path)
                    .header("x-gateway-secret", gateway_secret())
                    .header("host", "evil.example:8093")
                    .header("origin", "http://evil.example:8093")
                    .send()
                    .await
                    .unwrap();
                assert_eq!(answer.status(), 421, "{service} {path}");
            }
            let open = get("/health/ready").send().await.unwrap();
            assert_eq!(open.status(), 200, "{service}");
            for (name, value) in [
                ("x-content-type-options", "nosniff"),
                ("x-frame-options", "DENY"),
                ("referrer-policy", "no-referrer"),
            ] {
                assert_eq!(open.headers()[name], value, "{service}");
            }
        }
        let gateway = client
            .get(address("gateway"))
            .header("host", "evil.example");
        assert_eq!(gateway.send().await.unwrap().status(), 421);
    });
    Ok(())
}

/// Methods, paths and request ids that callers make up are not stored in the metrics and not used
/// as request ids.
pub(crate) fn unknown_methods_and_paths_do_not_grow_the_metrics() -> Result<(), Failed> {
    let size = async |client: &reqwest::Client| {
        let metrics = request(client, Method::GET, "profile", "/metrics").send();
        let text = metrics.await.unwrap().text().await.unwrap();
        let methods = text.matches("method=\"other\"").count();
        (text.len(), methods)
    };
    block_on(async {
        let client = client();
        let send = async |number: u32| {
            let method = format!("X{number}{}", "A".repeat(1000));
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let path = format!("/{number}/{}", "a".repeat(20_000));
            let answer = request(&client, method, "profile", &path)
                .header("x-request-id", "y".repeat(20_000))
                .send()
                .await
                .unwrap();
            assert_eq!(answer.status(), 404);
            let id = answer.headers()["x-request-id"].to_str().unwrap();
            assert!(id.starts_with("req_"), "{id}");
        };
        send(0).await;
        let (before, _) = size(&client).await;
        for number in 1..200 {
            send(number).await;
        }
        let (after, others) = size(&client).await;
        assert!(others >= 1);
        assert!(after < before + 500, "{before} bytes before, {after} after");
    });
    Ok(())
}

/// Clients that request a list of large rows and do not read it use little memory of a service. A
/// client that reads the list gets the newest rows.
pub(crate) fn lists_with_slow_readers_use_little_memory() -> Result<(), Failed> {
    const ROWS: usize = 600;
    const READERS: usize = 20;
    /// Maximum number of rows of a response without `limit`.
    const MAX_ROWS: usize = 1_000;
    /// Maximum growth in kB.
    const MAX_GROWTH: u64 = 128 * 1024;
    sql(&format!(
        "INSERT INTO inventory.shipments
             (shipment_id, order_id, client_id, requested_ship_date, items, status, created_at,
              created_by, updated_at)
         SELECT 'ship_large_' || n, 'ord_large_' || n, 'cli_1', '2030-01-01',
                (SELECT jsonb_agg(jsonb_build_object('sku', 'a', 'quantity', 1))
                   FROM generate_series(1, 8000)),
                'PENDING', now() + n * interval '1 microsecond', 'jhalpert', now()
           FROM generate_series(1, {ROWS}) AS n"
    ))?;
    let rows: usize = sql("SELECT count(*) FROM inventory.shipments")?.parse()?;
    let before = memory("inventory", "VmRSS")?;
    let host = address("inventory").trim_start_matches("http://");
    let http_request = format!(
        "GET /internal/shipments HTTP/1.1\r\nhost: localhost\r\nx-user-id: jhalpert\r\n\
         x-gateway-secret: {}\r\nconnection: close\r\n\r\n",
        gateway_secret()
    );
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut stream = TcpStream::connect(host)?;
        stream.write_all(http_request.as_bytes())?;
        readers.push(stream);
    }
    let mut maximum = before;
    let mut measure = || -> Result<u64, Failed> {
        maximum = maximum.max(memory("inventory", "VmRSS")?);
        Ok(maximum)
    };
    for reader in &readers {
        // All answers have begun before any of them is read.
        reader.set_read_timeout(Some(Duration::from_millis(50)))?;
        let until = Instant::now() + TIMEOUT;
        while reader.peek(&mut [0]).is_err() {
            assert!(Instant::now() < until, "no answer");
            measure()?;
        }
    }
    measure()?;
    let mut reader = readers.swap_remove(0);
    reader.set_read_timeout(Some(TIMEOUT))?;
    let (mut text, mut buffer) = (Vec::new(), vec![0; 1 << 20]);
    loop {
        let read = reader.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        text.extend_from_slice(&buffer[..read]);
        measure()?;
    }
    drop(readers);
    sql("DELETE FROM inventory.shipments WHERE shipment_id LIKE 'ship_large_%'")?;
    let text = String::from_utf8_lossy(&text);
    assert_eq!(text.matches("\"shipmentId\"").count(), rows.min(MAX_ROWS));
    let end = text.trim_end().trim_end_matches("\r\n0").trim_end();
    let cursor = if rows <= MAX_ROWS { "null}" } else { "\"" };
    assert!(
        end.contains(&format!("],\"total\":{rows},\"nextCursor\":{cursor}")),
        "{}",
        &end[end.len() - 160..]
    );
    let growth = measure()? - before;
    eprintln!(
        "{READERS} readers of {ROWS} large rows: {} MB more memory",
        growth / 1024
    );
    assert!(
        growth <= MAX_GROWTH,
        "memory grew by {growth} kB from {before} kB"
    );
    Ok(())
}

/// Clients that open connections and send no complete request do not block other clients.
pub(crate) fn idle_connections_do_not_block_other_clients() -> Result<(), Failed> {
    let host = address("finance").trim_start_matches("http://");
    let mut idle = Vec::new();
    for _ in 0..700 {
        let mut stream = TcpStream::connect(host)?;
        // The service may have closed the connection already.
        let _ = stream.write_all(b"GET /health/ready HTTP/1.1\r\nhost: localhost\r\n");
        idle.push(stream);
    }
    block_on(async {
        let client = client();
        for _ in 0..20 {
            let answer = request(&client, Method::GET, "finance", "/health/ready").send();
            assert_eq!(answer.await.unwrap().status(), 200);
        }
    });
    // The service has closed the oldest connections.
    let mut first = idle.swap_remove(0);
    first.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut rest = Vec::new();
    match first.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    assert!(rest.is_empty(), "{rest:?}");
    Ok(())
}

/// An idempotency key is valid for one user and one shipment.
pub(crate) fn idempotency_key_of_another_user_or_shipment_is_refused() -> Result<(), Failed> {
    let orders = block_on(async {
        let client = client();
        let place = || place_order(&client, "PPR-A4-WHT-500", 1);
        [place().await, place().await]
    });
    let shipments = orders.map(|order| order.replace("ord_", "ship_"));
    for shipment in &shipments {
        eventually(
            &format!("SELECT count(*) FROM inventory.shipments WHERE shipment_id = '{shipment}'"),
            "1",
        )?;
    }
    let [first, second] = &shipments;
    let post = |shipment: &str, operation: &str, user: &str, key: &str| {
        let path = format!("/internal/shipments/{shipment}/{operation}");
        let body = match operation {
            "scan" => json!({"barcode": "SKU:PPR-A4-WHT-500", "quantity": 1}),
            _ => json!({"truckId": "truck_1", "dispatchedAt": "2026-01-31T12:00:00Z"}),
        };
        block_on(async {
            let url = format!("{}{path}", address("inventory"));
            let answer = client()
                .post(url)
                .header("x-gateway-secret", gateway_secret())
                .header("x-user-id", user)
                .header("idempotency-key", key)
                .json(&body)
                .send()
                .await
                .unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        })
    };
    for operation in ["scan", "dispatch"] {
        let key = format!("shared_{first}_{operation}");
        let (code, answer) = post(first, operation, "dphilbin", &key);
        assert_eq!(code, 200, "{answer}");
        assert_eq!(post(first, operation, "dphilbin", &key), (200, answer));
        for (shipment, user) in [(second, "dphilbin"), (first, "mscott"), (second, "mscott")] {
            let (code, answer) = post(shipment, operation, user, &key);
            assert_eq!(code, 409, "{answer}");
            assert!(answer.contains("IDEMPOTENCY_KEY_REUSED"), "{answer}");
        }
        // A key of its own works.
        assert_eq!(
            post(second, operation, "dphilbin", &format!("{key}_2")).0,
            200
        );
    }
    Ok(())
}
