//! Helpers of the stack tests: projects of their own on a real engine, and calls of the `dm`
//! binary under test.

pub(crate) mod dm;
pub(crate) mod engine;
pub(crate) mod project;
pub(crate) mod proxy;
pub(crate) mod run;
pub(crate) mod servers;
pub(crate) mod shared;

pub(crate) use dm::Dm;
pub(crate) use engine::Engine;
pub(crate) use project::Project;
pub(crate) use shared::shared;

/// The infrastructure components in the order in which `dm` shows them.
pub(crate) const COMPONENTS: [&str; 4] = ["postgres", "rabbitmq", "openldap", "keycloak"];

/// Defines `trials()`, which returns a trial of each of these async functions. Its printed name
/// is the name of the function, so that the name in a failed run can be searched for in the
/// sources.
#[macro_export]
macro_rules! test_list {
    ($($test:ident),+ $(,)?) => {
        /// The tests of this module.
        pub(crate) fn trials() -> Vec<libtest_mimic::Trial> {
            vec![$($crate::harness::trial(stringify!($test), || Box::pin($test()))),+]
        }
    };
}

/// Returns a test that runs in its own runtime. Calls of `dm` block a worker thread, so the
/// runtime has a second one for the tasks that run meanwhile.
pub(crate) fn trial(
    name: &str,
    test: fn() -> std::pin::Pin<Box<dyn Future<Output = ()>>>,
) -> libtest_mimic::Trial {
    libtest_mimic::Trial::test(name, move || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?
            .block_on(test());
        Ok(())
    })
}
