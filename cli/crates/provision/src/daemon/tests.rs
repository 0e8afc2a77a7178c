use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

fn route(text: &str) -> IpRoute {
    IpRoute {
        interface: text.into(),
        destination: "0.0.0.0/0".parse().unwrap(),
        gateway: None,
    }
}

fn network(routes: &[&str], policy: &str) -> NetworkSnapshot {
    NetworkSnapshot {
        default_routes: routes.iter().map(|name| route(name)).collect(),
        forwarding: Some("1".into()),
        forward_policy: Some(policy.into()),
    }
}

#[test]
fn network_snapshot_detects_lost_routes_and_reports_a_changed_policy() {
    let before = network(&["eth0"], "ACCEPT");
    assert!(before.is_preserved_in(&network(&["eth0", "docker0"], "ACCEPT")));
    assert!(!before.is_preserved_in(&network(&["docker0"], "ACCEPT")));
    assert_eq!(before.describe_changes(&before), Vec::<String>::new());
    let changes = before.describe_changes(&network(&["eth0"], "DROP"));
    assert!(
        changes[0].ends_with("(iptables policy FORWARD DROP)"),
        "{changes:?}"
    );
}

#[test]
fn remove_stale_pidfiles_removes_only_pids_of_other_programs() {
    let dir = tempfile::tempdir().unwrap();
    let options = test_options(dir.path(), "unused");
    remove_stale_pidfiles(&options).unwrap();
    std::fs::write(&options.pidfile, std::process::id().to_string()).unwrap();
    remove_stale_pidfiles(&options).unwrap();
    assert!(!options.pidfile.exists());
    std::fs::write(&options.pidfile, "not a number").unwrap();
    remove_stale_pidfiles(&options).unwrap();
    assert!(options.pidfile.exists());
}

/// A bridge for one test, which is removed on drop.
struct TestBridge(String);

impl TestBridge {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("dmt{}n{number}", std::process::id() % 100_000);
        run_ip(&["link", "add", &name, "type", "bridge"]);
        Self(name)
    }
}

impl Drop for TestBridge {
    fn drop(&mut self) {
        run_ip(&["link", "delete", &self.0]);
    }
}

fn run_ip(arguments: &[&str]) {
    let status = std::process::Command::new("ip")
        .args(arguments)
        .status()
        .unwrap();
    assert!(status.success(), "ip {arguments:?}");
}

fn test_options(dir: &Path, bridge: &str) -> DaemonOptions {
    DaemonOptions {
        socket: dir.join("docker.sock"),
        data_root: dir.join("data"),
        exec_root: dir.join("exec"),
        pidfile: dir.join("docker.pid"),
        log: dir.join("dockerd.log"),
        bridge: options::Bridge::Existing(bridge.to_owned()),
        mtu: 1400,
        dns: Vec::new(),
        cgroupfs: true,
    }
}

/// Temporary directories and a bridge for a second engine.
struct TestDaemonDirs {
    dir: tempfile::TempDir,
    _bridge: TestBridge,
    state: StateDir,
    options: DaemonOptions,
}

impl TestDaemonDirs {
    fn new() -> Self {
        assert!(
            process::find_program("dockerd").is_some() && rustix::process::geteuid().is_root(),
            "needs root and dockerd: run as root after `dm engine start --yes`"
        );
        let dir = tempfile::tempdir().unwrap();
        let bridge = TestBridge::new();
        let options = test_options(dir.path(), &bridge.0);
        let state = StateDir::open_at(dir.path().join("state")).unwrap();
        Self {
            dir,
            _bridge: bridge,
            state,
            options,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and dockerd"]
async fn managed_daemon_starts_once_recovers_from_a_kill_and_stops_completely() {
    let dirs = TestDaemonDirs::new();
    let TestDaemonDirs { state, options, .. } = &dirs;
    let daemon = ManagedDaemon::new(state.clone());
    let cancel = CancellationToken::new();
    assert_eq!(daemon.running().unwrap(), None);
    assert!(!daemon.stop(&cancel).await.unwrap());

    // Two concurrent starts: one starts the daemon, the other waits and finds it.
    let other = ManagedDaemon::new(state.clone());
    let (one, two) = tokio::join!(
        daemon.start(options, &cancel, &|_| {}),
        other.start(options, &cancel, &|_| {}),
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.running, two.running);
    assert!(one.fresh != two.fresh);

    // A daemon that a killed `dm` started is found through its record.
    let record = daemon.load_record().unwrap().unwrap();
    assert!(record.find_containerd().is_some());
    assert_eq!(daemon.running().unwrap(), Some(one.running.clone()));
    let engine = Engine::connect(&EngineSettings {
        host: Some(options.address()),
    })
    .await
    .unwrap();
    assert_eq!(
        engine.info().await.unwrap().root_dir,
        options.data_root.display().to_string()
    );

    // A killed daemon leaves pid files and possibly its containerd; the next start cleans up.
    let pid = rustix::process::Pid::from_raw(i32::try_from(one.running.pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    while record.find_dockerd().is_some() {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    assert_eq!(daemon.running().unwrap(), None);
    let restarted = daemon.start(options, &cancel, &|_| {}).await.unwrap();
    assert!(restarted.fresh && restarted.running.pid != one.running.pid);

    assert!(daemon.stop(&cancel).await.unwrap());
    assert_eq!(daemon.running().unwrap(), None);
    assert!(record.find_containerd().is_none());
    assert_eq!(daemon.load_record().unwrap(), None);
    assert!(!daemon.stop(&cancel).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and dockerd"]
async fn managed_daemon_starts_despite_an_orphaned_containerd() {
    let dirs = TestDaemonDirs::new();
    let TestDaemonDirs { state, options, .. } = &dirs;
    let cancel = CancellationToken::new();

    // The state after a kill of dockerd, until the kernel has ended its containerd.
    let config = PathBuf::from(options.containerd_config());
    let directory = config.parent().unwrap();
    std::fs::create_dir_all(directory).unwrap();
    let settings = format!(
        "version = 2\nroot = \"{root}\"\nstate = \"{directory}/daemon\"\n\
         disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
         [grpc]\naddress = \"{directory}/containerd.sock\"\n",
        root = options.data_root.join("containerd/daemon").display(),
        directory = directory.display(),
    );
    std::fs::write(&config, settings).unwrap();
    let mut orphan = std::process::Command::new(process::find_program("containerd").unwrap())
        .arg("--config")
        .arg(&config)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::fs::write(options.containerd_pidfile(), orphan.id().to_string()).unwrap();
    while !directory.join("containerd.sock").exists() {
        assert!(orphan.try_wait().unwrap().is_none());
        tokio::time::sleep(POLL_INTERVAL).await;
    }

    let daemon = ManagedDaemon::new(state.clone());
    daemon.start(options, &cancel, &|_| {}).await.unwrap();
    assert!(orphan.try_wait().unwrap().is_some());
    let containerd = daemon
        .load_record()
        .unwrap()
        .unwrap()
        .find_containerd()
        .unwrap();
    assert_ne!(containerd.pid, orphan.id());
    assert!(daemon.stop(&cancel).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and dockerd"]
async fn managed_daemon_that_fails_to_start_reports_the_cause_and_leaves_no_record() {
    let dirs = TestDaemonDirs::new();
    let TestDaemonDirs { dir, state, .. } = &dirs;
    let mut options = dirs.options.clone();
    // A file where a directory must be.
    options.data_root = dir.path().join("file");
    std::fs::write(&options.data_root, "").unwrap();
    let daemon = ManagedDaemon::new(state.clone());
    let error = daemon
        .start(&options, &CancellationToken::new(), &|_| {})
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("could not start dockerd: it ended with exit status: 1"),
        "{text}"
    );
    assert!(text.contains("points to a file"), "{text}");
    assert_eq!(daemon.load_record().unwrap(), None);
}
