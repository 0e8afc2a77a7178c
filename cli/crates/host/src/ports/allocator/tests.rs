use std::net::TcpListener;

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
        wanted: &[(&str, u16)],
        mode: PortMode,
        ours: &[u16],
    ) -> Result<BTreeMap<String, u16>, PortError> {
        let wanted = wanted
            .iter()
            .map(|(name, port)| ((*name).to_owned(), *port))
            .collect();
        self.allocator.allocate(&PortRequest {
            project: "dm-01234567",
            root: self.dir.path(),
            instance,
            requested: &wanted,
            mode,
            published: &ours.iter().copied().collect(),
        })
    }
}

/// A port that somebody listens on, as long as the listener lives.
fn occupied_port() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[test]
fn a_taken_port_names_its_owner_and_three_ways_out() {
    let scratch = test_allocator();
    let (_listener, port) = occupied_port();
    let error = scratch
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
    assert_eq!(scratch.allocator.list().unwrap(), []);
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
fn a_port_of_its_own_containers_is_no_obstacle() {
    let scratch = test_allocator();
    let (_listener, port) = occupied_port();
    let given = scratch
        .allocate("default", &[("postgres", port)], PortMode::Fixed, &[port])
        .unwrap();
    assert_eq!(given["postgres"], port);
    let again = scratch
        .allocate("default", &[("postgres", port)], AUTO, &[port])
        .unwrap();
    assert_eq!(again["postgres"], port);
}

#[test]
fn what_is_not_wanted_this_time_keeps_its_port_unasked() {
    let scratch = test_allocator();
    let postgres = scratch
        .allocate("default", &[("postgres", 1)], AUTO, &[])
        .unwrap()["postgres"];
    // Whoever sits there now is not asked: only the broker is wanted.
    let _listener = TcpListener::bind(("127.0.0.1", postgres)).unwrap();
    let both = scratch
        .allocate("default", &[("rabbitmq", 2)], AUTO, &[])
        .unwrap();
    assert_eq!(both["postgres"], postgres);
    assert_ne!(both["rabbitmq"], postgres);
    let again = scratch
        .allocate("default", &[("postgres", 1), ("rabbitmq", 2)], AUTO, &[])
        .unwrap();
    assert_ne!(again["postgres"], postgres);
    assert_eq!(again["rabbitmq"], both["rabbitmq"]);
}

#[test]
fn auto_goes_round_a_taken_port_and_keeps_what_it_chose() {
    let scratch = test_allocator();
    let (_listener, port) = occupied_port();
    let mode = PortMode::Auto {
        prefer_requested: true,
    };
    let first = scratch
        .allocate("default", &[("postgres", port)], mode, &[])
        .unwrap();
    assert_ne!(first["postgres"], port);
    let second = scratch.allocate("default", &[("postgres", port), ("keycloak", 0)], mode, &[]);
    assert_eq!(second.unwrap()["postgres"], first["postgres"]);
    assert_eq!(
        scratch
            .allocator
            .allocated_ports("dm-01234567", "default")
            .unwrap()
            .unwrap()["postgres"],
        first["postgres"]
    );
    assert_eq!(
        scratch
            .allocator
            .allocated_ports("dm-01234567", "demo")
            .unwrap(),
        None
    );
}

#[test]
fn a_recorded_port_that_somebody_took_meanwhile_is_given_up() {
    let scratch = test_allocator();
    let first = scratch
        .allocate("demo", &[("postgres", 5432)], AUTO, &[])
        .unwrap()["postgres"];
    let _listener = TcpListener::bind(("127.0.0.1", first)).unwrap();
    let second = scratch
        .allocate("demo", &[("postgres", 5432)], AUTO, &[])
        .unwrap()["postgres"];
    assert_ne!(first, second);
}

#[test]
fn a_second_instance_leaves_the_customary_ports_alone() {
    let scratch = test_allocator();
    let port = { occupied_port().1 };
    let given = scratch
        .allocate("demo", &[("postgres", port)], AUTO, &[])
        .unwrap();
    assert_ne!(given["postgres"], port);
    let fixed = scratch
        .allocate("default", &[("postgres", port)], PortMode::Fixed, &[])
        .unwrap();
    assert_eq!(fixed["postgres"], port);
}

#[test]
fn a_port_kept_for_a_stopped_instance_is_given_to_no_other_until_released() {
    let scratch = test_allocator();
    let port = { occupied_port().1 };
    scratch
        .allocate("one", &[("postgres", port)], PortMode::Fixed, &[])
        .unwrap();
    let error = scratch
        .allocate("two", &[("postgres", port)], PortMode::Fixed, &[])
        .unwrap_err();
    assert!(matches!(&error, PortError::Reserved { instance, .. } if instance == "one"));
    assert!(error.suggestions()[1].ends_with("dm down --instance one"));
    scratch.allocator.release("dm-01234567", "one").unwrap();
    scratch.allocator.release("dm-01234567", "one").unwrap();
    scratch
        .allocate("two", &[("postgres", port)], PortMode::Fixed, &[])
        .unwrap();
}

#[test]
fn a_deleted_project_keeps_no_ports() {
    let scratch = test_allocator();
    let gone = scratch.dir.path().join("gone");
    std::fs::create_dir(&gone).unwrap();
    let port = { occupied_port().1 };
    let wanted = BTreeMap::from([("postgres".to_owned(), port)]);
    let ask = |root: &Path, project: &str| {
        let request = PortRequest {
            project,
            root,
            instance: "default",
            requested: &wanted,
            mode: PortMode::Fixed,
            published: &BTreeSet::new(),
        };
        scratch.allocator.allocate(&request).map(|_| ())
    };
    ask(&gone, "gone-1").unwrap();
    assert!(ask(scratch.dir.path(), "dm-2").is_err());
    std::fs::remove_dir(&gone).unwrap();
    ask(scratch.dir.path(), "dm-2").unwrap();
}

#[test]
fn one_port_for_two_components_is_refused() {
    let scratch = test_allocator();
    let error = scratch
        .allocate("x", &[("a", 7), ("b", 7)], PortMode::Fixed, &[])
        .unwrap_err();
    assert_eq!(error.to_string(), "a and b both require port 7");
}

#[test]
fn automatic_ports_stay_below_the_ephemeral_ones() {
    assert_eq!(below_ephemeral(32_768), 20_000..=32_767);
    assert_eq!(below_ephemeral(1_024), 20_000..=29_999);
    assert_eq!(below_ephemeral(20_500), 20_000..=29_999);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Any number of instances that ask at the same moment, each through its
    /// own allocator as a process would, get ports that no two share.
    #[test]
    fn parallel_allocations_are_disjoint(instances in 2_usize..9, components in 1_usize..5) {
        let scratch = test_allocator();
        let names: Vec<String> = (0..components).map(|n| format!("c{n}")).collect();
        let given: Vec<BTreeMap<String, u16>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..instances)
                .map(|n| {
                    let (names, scratch) = (&names, &scratch);
                    scope.spawn(move || {
                        let allocator = PortAllocator::new(
                            StateDir::open_at(scratch.dir.path().join("state")).unwrap(),
                        );
                        let wanted = names.iter().zip(5000..).map(|(c, p)| (c.clone(), p)).collect();
                        allocator
                            .allocate(&PortRequest {
                                project: "dm-01234567",
                                root: scratch.dir.path(),
                                instance: &format!("i{n}"),
                                requested: &wanted,
                                mode: PortMode::Auto { prefer_requested: n == 0 },
                                published: &BTreeSet::new(),
                            })
                            .unwrap()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let all: BTreeSet<u16> = given.iter().flat_map(|ports| ports.values().copied()).collect();
        prop_assert_eq!(all.len(), instances * components);
        prop_assert_eq!(scratch.allocator.list().unwrap().len(), instances);
    }
}
