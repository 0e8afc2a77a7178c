//! What nobody should send: never a 500, always the contract's envelope.

use libtest_mimic::Failed;
use reqwest::Method;
use serde_json::Value;

use super::stack::{SERVICES, block_on, client, request};

const ENDPOINTS: [(&str, &str); 9] = [
    ("profile", "/internal/profile/me"),
    ("sales", "/internal/sales/leads"),
    ("sales", "/internal/sales/leads/lead_1"),
    ("sales", "/internal/sales/leads/lead_1/convert"),
    ("order", "/internal/orders"),
    ("inventory", "/internal/shipments/ship_1/scan"),
    ("inventory", "/internal/shipments/ship_1/dispatch"),
    ("finance", "/internal/expenses"),
    ("finance", "/internal/expenses/exp_1/decision"),
];

/// Checks that an answer is a refusal of the contract.
fn refused(what: &str, status: u16, body: &str) {
    assert!((400..500).contains(&status), "{what}: {status} {body}");
    let body: Value =
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{what}: {error}: {body}"));
    for field in ["code", "message", "traceId"] {
        assert!(body["error"][field].is_string(), "{what}: {body}");
    }
    let text = body.to_string().to_lowercase();
    for leak in ["sqlx", "postgres", "panicked", "constraint", "serde"] {
        assert!(!text.contains(leak), "{what} tells of {leak}: {text}");
    }
}

/// Bodies of every wrong kind.
pub fn bodies() -> Result<(), Failed> {
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
        // What is too large ends its connection: the next request needs another.
        let client = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .build()
            .unwrap();
        for (service, path) in ENDPOINTS {
            // It takes no body, and no such lead is there.
            for body in bodies {
                let answer = request(&client, Method::POST, service, path)
                    .header("idempotency-key", "hostile")
                    .header("content-type", "application/json")
                    .body(body.to_vec())
                    .send()
                    .await;
                let what = format!("POST {path} {:?}", &body[..body.len().min(40)]);
                let answer = match answer {
                    Ok(answer) => answer,
                    // The service hangs up on what is too large, perhaps before its
                    // answer is read.
                    Err(_) if body.len() > 1 << 20 => continue,
                    Err(error) => panic!("{what}: {error}"),
                };
                let status = answer.status().as_u16();
                refused(&what, status, &answer.text().await.unwrap());
            }
        }
    });
    Ok(())
}

/// Paths, queries and headers of every wrong kind.
pub fn paths() -> Result<(), Failed> {
    let wrong = [
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
        for (service, path) in wrong {
            let answer = request(&client, Method::GET, service, path)
                .send()
                .await
                .unwrap();
            let status = answer.status().as_u16();
            refused(path, status, &answer.text().await.unwrap());
        }
        for service in SERVICES {
            let nobody = request(&client, Method::DELETE, service, "/health/ready")
                .send()
                .await
                .unwrap();
            assert_eq!(nobody.status(), 405, "{service}");
            let traced = request(&client, Method::GET, service, "/health/ready")
                .header("x-trace-id", "0AF7651916CD43DD8448EB211C80319C")
                .header("x-request-id", "my request")
                .send()
                .await
                .unwrap();
            let header = |name| traced.headers()[name].to_str().unwrap().to_owned();
            assert_eq!(header("x-trace-id"), "0af7651916cd43dd8448eb211c80319c");
            assert_eq!(header("x-request-id"), "my request");
            assert!(header("traceparent").starts_with("00-"), "{service}");
        }
    });
    Ok(())
}

/// Each service describes at least one endpoint, and counts its requests.
pub fn descriptions() -> Result<(), Failed> {
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
