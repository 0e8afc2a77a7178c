use dm_core::error::UserError;
use dm_core::error_code::ErrorCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

fn addresses(settings: &EngineSettings, env: &DiscoveryEnv) -> Vec<(String, DiscoverySource)> {
    list_candidates(settings, env)
        .unwrap()
        .into_iter()
        .map(|candidate| (candidate.endpoint.address, candidate.source))
        .collect()
}

/// Starts an engine that answers every request with its version.
fn start_engine(path: &Path, api: &str) -> tokio::task::JoinHandle<()> {
    let listener = tokio::net::UnixListener::bind(path).unwrap();
    let body = format!(r#"{{"Version":"1","ApiVersion":"{api}"}}"#);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
}

fn socket(path: &Path, source: DiscoverySource) -> EngineCandidate {
    EngineCandidate {
        endpoint: Endpoint {
            address: format!("unix://{}", path.display()),
            tls: None,
        },
        source,
    }
}

#[test]
fn explicitly_named_engine_is_the_only_candidate() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("config.json"),
        r#"{"currentContext":"lab"}"#,
    )
    .unwrap();
    let mut env = DiscoveryEnv {
        docker_host: Some("tcp://192.0.2.1:2376".into()),
        tls_verify: true,
        docker_config_dir: Some(dir.path().into()),
        ..DiscoveryEnv::default()
    };
    let settings = EngineSettings {
        host: Some("unix:///x.sock".into()),
    };
    assert_eq!(
        addresses(&settings, &env),
        [("unix:///x.sock".into(), DiscoverySource::Config)]
    );
    let candidates = list_candidates(&EngineSettings::default(), &env).unwrap();
    assert_eq!(candidates[0].source, DiscoverySource::DockerHost);
    assert_eq!(
        candidates[0].endpoint.tls.as_ref().unwrap().directory,
        dir.path()
    );
    assert_eq!(candidates.len(), 1);
    env.docker_host = None;
    let error = list_candidates(&EngineSettings::default(), &env).unwrap_err();
    let EngineError::NotFound { tried, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(tried, ["Docker context lab: no such context"]);
    // The built-in context, named explicitly, overrides the file.
    env.docker_context = Some("default".into());
    let found = addresses(&EngineSettings::default(), &env);
    assert_eq!(found[0].1, DiscoverySource::DefaultSocket);
}

#[test]
fn candidates_without_settings_are_the_default_sockets_in_order() {
    let env = DiscoveryEnv {
        runtime_dir: Some("/run/user/1000".into()),
        home: Some("/home/pam".into()),
        ..DiscoveryEnv::default()
    };
    let all: Vec<String> = addresses(&EngineSettings::default(), &env)
        .into_iter()
        .map(|(address, source)| format!("{address} ({source})"))
        .collect();
    insta::assert_snapshot!(all.join("\n"), @r"
    unix:///var/run/docker.sock (default socket)
    unix:///run/user/1000/docker.sock (socket of this user)
    unix:///home/pam/.docker/run/docker.sock (socket of this user)
    unix:///home/pam/.docker/desktop/docker.sock (socket of this user)
    unix:///home/pam/.orbstack/run/docker.sock (socket of this user)
    unix:///home/pam/.colima/default/docker.sock (socket of this user)
    unix:///home/pam/.config/colima/default/docker.sock (socket of this user)
    unix:///home/pam/.rd/docker.sock (socket of this user)
    unix:///run/podman/podman.sock (Podman socket)
    unix:///run/user/1000/podman/podman.sock (Podman socket)
    unix:///home/pam/.local/share/containers/podman/machine/podman.sock (Podman socket)
    ");
}

#[tokio::test]
async fn stale_sockets_are_skipped_and_reported_as_tried() {
    let dir = tempfile::tempdir().unwrap();
    let (stale, live) = (dir.path().join("stale.sock"), dir.path().join("live.sock"));
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    let engine = start_engine(&live, "1.41");
    let (_, discovery, _) = try_candidates(vec![
        socket(
            &dir.path().join("absent.sock"),
            DiscoverySource::DefaultSocket,
        ),
        socket(&stale, DiscoverySource::Rootless),
        socket(&live, DiscoverySource::Podman),
    ])
    .await
    .unwrap();
    assert_eq!(
        discovery.reason,
        "Podman socket, the first of 3 candidates that answers"
    );
    let outcomes: Vec<&str> = discovery
        .tried
        .iter()
        .map(|candidate| candidate.outcome.as_str())
        .collect();
    assert_eq!(
        outcomes,
        [
            "no such socket",
            "the socket exists, but no process listens on it"
        ]
    );
    engine.abort();
}

#[tokio::test]
async fn engine_with_an_old_api_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (api, accepted) in [
        ("1.40", false),
        ("1.41", true),
        ("1.100", true),
        ("", false),
    ] {
        let path = dir.path().join(format!("{api}.sock"));
        let engine = start_engine(&path, api);
        let result = try_candidates(vec![socket(&path, DiscoverySource::DefaultSocket)]).await;
        assert_eq!(result.is_ok(), accepted, "{api}");
        if let Err(error) = result {
            assert_eq!(error.code(), ErrorCode::EngineTooOld);
        }
        engine.abort();
    }
}

#[tokio::test]
async fn not_found_error_suggests_a_next_step_per_source() {
    let dir = tempfile::tempdir().unwrap();
    let absent = socket(&dir.path().join("a.sock"), DiscoverySource::DefaultSocket);
    let error = try_candidates(vec![absent.clone()]).await.unwrap_err();
    assert_eq!(
        error.suggestions(),
        ["install and start an engine: dm engine start"]
    );
    let named = EngineCandidate {
        source: DiscoverySource::DockerHost,
        ..absent
    };
    let error = try_candidates(vec![named]).await.unwrap_err();
    assert_eq!(
        error.suggestions(),
        ["check DOCKER_HOST, or unset it: unset DOCKER_HOST"]
    );
    let ssh = EngineCandidate {
        endpoint: Endpoint {
            address: "ssh://pam@192.0.2.1".into(),
            tls: None,
        },
        source: DiscoverySource::DockerHost,
    };
    let error = try_candidates(vec![ssh]).await.unwrap_err();
    let EngineError::NotFound { tried, suggestions } = error else {
        panic!("{error}")
    };
    assert_eq!(tried, ["ssh://pam@192.0.2.1: dm does not support ssh"]);
    assert!(suggestions[1].contains("pam@192.0.2.1 & export DOCKER_HOST"));
}
