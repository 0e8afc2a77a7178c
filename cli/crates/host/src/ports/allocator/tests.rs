use std::net::TcpListener;

use dm_core::error::UserError as _;
use proptest::prelude::*;

use super::*;

const AUTO: PortMode = PortMode::Auto {
    prefer_requested: false,
};

struct TestAllocator {
    dir: tempfile::TempDir,
    allocator: PortAllocator,
}

fn test_allocator() -> TestAllocator {
    let dir = tempfile::tempdir().unwrap();
    let allocator = PortAllocator::new(StateDir::open_at(dir.path().join("state")).unwrap());
    TestAllocator { dir, allocator }
}

impl TestAllocator {
    fn allocate(
        &self,
        instance: &str,
        requested: &[(&str, u16)],
        mode: PortMode,
        published: &[u16],
    ) -> Result<BTreeMap<String, u16>, PortError> {
        let requested = requested
            .iter()
            .map(|(name, port)| ((*name).to_owned(), *port))
            .collect();
        self.allocator.allocate(&PortRequest {
            project: "dm-01234567",
            root: self.dir.path(),
            instance,
            requested: &requested,
            mode,
            published: &published.iter().copied().collect(),
        })
    }
}

/// Returns a port and its listener. The port is in use while the listener exists.
fn occupied_port() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[test]
fn taken_port_error_names_the_owner_and_three_suggestions() {
    let fixture = test_allocator();
    let (_listener, port) = occupied_port();
    let error = fixture
        .allocate("default", &[("postgres", port)], PortMode::Fixed, &[])
        .unwrap_err();
    let PortError::Taken { owner, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(owner.as_ref().unwrap().pid, std::process::id());
    assert_eq!(
        error.suggestions()[0],
        "let dm choose free ports: dm up --ports auto"
    );
    assert_eq!(
        error.suggestions()[2],
        "or set another port in dm.toml: postgres.port"
    );
    assert_eq!(fixture.allocator.list().unwrap(), []);
    let error = error.with_container(|_| Some("other-postgres".into()));
    assert_eq!(
        error.to_string(),
        format!("port {port} of postgres is taken by container other-postgres")
    );
    assert_eq!(
        error.suggestions()[1],
        "or stop it: docker stop other-postgres"
    );
}

#[test]
fn port_published_by_own_containers_is_allocated() {
    let fixture = test_allocator();
    let (_listener, port) = occupied_port();
    let first = fixture
        .allocate("default", &[("postgres", port)], PortMode::Fixed, &[port])
        .unwrap();
    assert_eq!(first["postgres"], port);
    let second = fixture
        .allocate("default", &[("postgres", port)], AUTO, &[port])
        .unwrap();
    assert_eq!(second["postgres"], port);
}

#[test]
fn component_outside_the_request_keeps_its_port() {
    let fixture = test_allocator();
    let postgres = fixture
        .allocate("default", &[("postgres", 1)], AUTO, &[])
        .unwrap()["postgres"];
    // The port is not checked, because only the broker is requested.
    let _listener = TcpListener::bind(("127.0.0.1", postgres)).unwrap();
    let first = fixture
        .allocate("default", &[("rabbitmq", 2)], AUTO, &[])
        .unwrap();
    assert_eq!(first["postgres"], postgres);
    assert_ne!(first["rabbitmq"], postgres);
    let second = fixture
        .allocate("default", &[("postgres", 1), ("rabbitmq", 2)], AUTO, &[])
        .unwrap();
    assert_ne!(second["postgres"], postgres);
    assert_eq!(second["rabbitmq"], first["rabbitmq"]);
}

#[test]
fn auto_mode_avoids_a_taken_port_and_keeps_its_choice() {
    let fixture = test_allocator();
    let (_listener, port) = occupied_port();
    let mode = PortMode::Auto {
        prefer_requested: true,
    };
    let first = fixture
        .allocate("default", &[("postgres", port)], mode, &[])
        .unwrap();
    assert_ne!(first["postgres"], port);
    let second = fixture.allocate("default", &[("postgres", port), ("keycloak", 0)], mode, &[]);
    assert_eq!(second.unwrap()["postgres"], first["postgres"]);
    assert_eq!(
        fixture
            .allocator
            .allocated_ports("dm-01234567", "default")
            .unwrap()
            .unwrap()["postgres"],
        first["postgres"]
    );
    assert_eq!(
        fixture
            .allocator
            .allocated_ports("dm-01234567", "demo")
            .unwrap(),
        None
    );
}

#[test]
fn recorded_port_that_is_taken_is_replaced() {
    let fixture = test_allocator();
    let first = fixture
        .allocate("demo", &[("postgres", 5432)], AUTO, &[])
        .unwrap()["postgres"];
    let _listener = TcpListener::bind(("127.0.0.1", first)).unwrap();
    let second = fixture
        .allocate("demo", &[("postgres", 5432)], AUTO, &[])
        .unwrap()["postgres"];
    assert_ne!(first, second);
}

#[test]
fn auto_mode_without_preference_avoids_the_requested_ports() {
    let fixture = test_allocator();
    let port = { occupied_port().1 };
    let auto = fixture
        .allocate("demo", &[("postgres", port)], AUTO, &[])
        .unwrap();
    assert_ne!(auto["postgres"], port);
    let fixed = fixture
        .allocate("default", &[("postgres", port)], PortMode::Fixed, &[])
        .unwrap();
    assert_eq!(fixed["postgres"], port);
}

#[test]
fn port_of_a_stopped_instance_is_reserved_until_released() {
    let fixture = test_allocator();
    let port = { occupied_port().1 };
    fixture
        .allocate("one", &[("postgres", port)], PortMode::Fixed, &[])
        .unwrap();
    let error = fixture
        .allocate("two", &[("postgres", port)], PortMode::Fixed, &[])
        .unwrap_err();
    assert!(matches!(&error, PortError::Reserved { instance, .. } if instance == "one"));
    assert!(error.suggestions()[1].ends_with("dm down --instance one"));
    fixture.allocator.release("dm-01234567", "one").unwrap();
    fixture.allocator.release("dm-01234567", "one").unwrap();
    fixture
        .allocate("two", &[("postgres", port)], PortMode::Fixed, &[])
        .unwrap();
}

#[test]
fn deleted_project_loses_its_ports() {
    let fixture = test_allocator();
    let deleted = fixture.dir.path().join("deleted");
    std::fs::create_dir(&deleted).unwrap();
    let port = { occupied_port().1 };
    let requested = BTreeMap::from([("postgres".to_owned(), port)]);
    let allocate = |root: &Path, project: &str| {
        let request = PortRequest {
            project,
            root,
            instance: "default",
            requested: &requested,
            mode: PortMode::Fixed,
            published: &BTreeSet::new(),
        };
        fixture.allocator.allocate(&request).map(|_| ())
    };
    allocate(&deleted, "deleted-1").unwrap();
    assert!(allocate(fixture.dir.path(), "dm-2").is_err());
    std::fs::remove_dir(&deleted).unwrap();
    allocate(fixture.dir.path(), "dm-2").unwrap();
}

#[test]
fn same_port_for_two_components_is_an_error() {
    let fixture = test_allocator();
    let error = fixture
        .allocate("x", &[("a", 7), ("b", 7)], PortMode::Fixed, &[])
        .unwrap_err();
    assert_eq!(error.to_string(), "a and b both require port 7");
}

#[test]
fn auto_ports_are_below_the_ephemeral_range() {
    assert_eq!(below_ephemeral(32_768), 20_000..=32_767);
    assert_eq!(below_ephemeral(1_024), 20_000..=29_999);
    assert_eq!(below_ephemeral(20_500), 20_000..=29_999);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Instances that allocate in parallel, each through its own allocator as separate
    /// processes would, never share a port.
    #[test]
    fn parallel_allocations_are_disjoint(instances in 2_usize..9, components in 1_usize..5) {
        let fixture = test_allocator();
        let names: Vec<String> = (0..components).map(|n| format!("c{n}")).collect();
        let allocations: Vec<BTreeMap<String, u16>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..instances)
                .map(|n| {
                    let (names, fixture) = (&names, &fixture);
                    scope.spawn(move || {
                        let allocator = PortAllocator::new(
                            StateDir::open_at(fixture.dir.path().join("state")).unwrap(),
                        );
                        let requested =
                            names.iter().zip(5000..).map(|(name, port)| (name.clone(), port)).collect();
                        allocator
                            .allocate(&PortRequest {
                                project: "dm-01234567",
                                root: fixture.dir.path(),
                                instance: &format!("i{n}"),
                                requested: &requested,
                                mode: PortMode::Auto { prefer_requested: n == 0 },
                                published: &BTreeSet::new(),
                            })
                            .unwrap()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let all: BTreeSet<u16> =
            allocations.iter().flat_map(|ports| ports.values().copied()).collect();
        prop_assert_eq!(all.len(), instances * components);
        prop_assert_eq!(fixture.allocator.list().unwrap().len(), instances);
    }
}

#[test]
fn unchanged_allocation_does_not_write_the_registry() {
    use std::os::unix::fs::MetadataExt as _;

    let fixture = test_allocator();
    let allocate = |instance, names: &[&str]| {
        let requested: Vec<(&str, u16)> = names.iter().copied().zip(5432..).collect();
        fixture.allocate(instance, &requested, AUTO, &[]).unwrap()
    };
    let first = allocate("one", &["postgres"]);
    allocate("two", &["postgres"]);
    let inode = || {
        let registry = fixture.dir.path().join("state").join(REGISTRY_FILE);
        std::fs::metadata(registry).unwrap().ino()
    };
    let before = inode();
    assert_eq!(allocate("one", &["postgres"]), first);
    assert_eq!(inode(), before);
    allocate("one", &["postgres", "rabbitmq"]);
    assert_ne!(inode(), before);
}
