//! A real registry on loopback, from the distribution's package.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use dm_engine::images::RegistryLogin;

use super::Bench;

/// A registry that runs while this lives. It stores in a folder of its own.
pub(crate) struct Registry {
    process: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Registry {
    /// Starts one on a free port, with a login where one is given.
    pub(crate) async fn start(login: Option<&RegistryLogin>) -> Self {
        need("docker-registry", "docker-registry");
        let dir = tempfile::tempdir().unwrap();
        // Free now; nobody else takes it in the moment until the registry does.
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
            need("htpasswd", "apache2-utils");
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
        registry.ready().await;
        registry
    }

    async fn ready(&mut self) {
        let url = format!("http://{}/v2/", self.address());
        let answers = async {
            // With a login, "unauthorized" is an answer, too.
            while reqwest::get(&url).await.is_err() {
                assert!(
                    self.process.try_wait().unwrap().is_none(),
                    "the registry ended"
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), answers)
            .await
            .expect("the registry does not answer");
    }

    /// Host and port.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Puts an image into it under a path, and returns the whole reference.
    pub(crate) async fn push(
        &self,
        bench: &Bench,
        path: &str,
        login: Option<&RegistryLogin>,
    ) -> String {
        // The path alone may be another test's as well.
        let path = if path.contains(&bench.unique()) {
            path.to_owned()
        } else {
            bench.name(path)
        };
        bench
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

/// Installs the package of a program where it is missing. Tests never leave out
/// what they can't run.
fn need(program: &str, package: &str) {
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _turn = ONE_AT_A_TIME
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
