//! A real registry on the loopback interface, from the distribution's package.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use dm_engine::images::RegistryLogin;

use super::EngineFixture;

/// A registry process with its own storage directory. It ends when this value is dropped.
pub(crate) struct Registry {
    process: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Registry {
    /// Starts a registry on a free port, with a login if one is given.
    pub(crate) async fn start(login: Option<&RegistryLogin>) -> Self {
        ensure_installed("docker-registry", "docker-registry");
        let dir = tempfile::tempdir().unwrap();
        // The port is free now. Another process is unlikely to take it before the registry does.
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: \"127.0.0.1:{port}\"}}\n",
            dir.path().join("data").display()
        );
        if let Some(login) = login {
            ensure_installed("htpasswd", "apache2-utils");
            let hash = Command::new("htpasswd")
                .args(["-nbB", "-C", "4", &login.username, &login.password])
                .output()
                .unwrap();
            let file = dir.path().join("htpasswd");
            std::fs::write(&file, hash.stdout).unwrap();
            config.push_str(&format!(
                "auth: {{htpasswd: {{realm: test, path: {}}}}}\n",
                file.display()
            ));
        }
        let config_file = dir.path().join("config.yml");
        std::fs::write(&config_file, config).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config_file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut registry = Self {
            process,
            port,
            _dir: dir,
        };
        registry.wait_until_ready().await;
        registry
    }

    async fn wait_until_ready(&mut self) {
        let url = format!("http://{}/v2/", self.address());
        let answered = async {
            // A registry with a login answers 401, which also means that it is ready.
            while reqwest::get(&url).await.is_err() {
                assert!(
                    self.process.try_wait().unwrap().is_none(),
                    "the registry exited"
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), answered)
            .await
            .expect("the registry did not answer in time");
    }

    /// Returns host and port.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Pushes an image to the registry under a path and returns the complete reference.
    pub(crate) async fn push(
        &self,
        fixture: &EngineFixture,
        path: &str,
        login: Option<&RegistryLogin>,
    ) -> String {
        // Another test may use the same path.
        let path = if path.contains(&fixture.unique()) {
            path.to_owned()
        } else {
            fixture.name(path)
        };
        fixture
            .push(&format!("{}/{path}", self.address()), login)
            .await
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Installs the package of a program if the program is missing. Tests must not be skipped because
/// a tool is missing.
fn ensure_installed(program: &str, package: &str) {
    static INSTALLATION: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _guard = INSTALLATION
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()));
    if found {
        return;
    }
    let installed = Command::new("apt-get")
        .args(["install", "-y", "-qq", "--no-install-recommends", package])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null())
        .status();
    assert!(
        installed.is_ok_and(|status| status.success()),
        "these tests need {program}: install the package {package}, or run them as root on Debian"
    );
}
