//! What the stack tests have in common: projects of their own on a real engine,
//! and the `dm` that is tested, run as a person runs it.

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

/// The infrastructure components, in the order in which they are shown.
pub(crate) const COMPONENTS: [&str; 4] = ["postgres", "rabbitmq", "openldap", "keycloak"];

/// Makes a trial of each of these async functions, named by its module.
#[macro_export]
macro_rules! test_list {
    ($($test:ident),+ $(,)?) => {
        /// The tests of this module.
        pub(crate) fn trials() -> Vec<libtest_mimic::Trial> {
            vec![$($crate::harness::trial(module_path!(), stringify!($test), || Box::pin($test()))),+]
        }
    };
}

/// A test with a runtime of its own. Calls of `dm` block its thread, so others
/// are there for what goes on beside them.
pub(crate) fn trial(
    module: &str,
    name: &str,
    test: fn() -> std::pin::Pin<Box<dyn Future<Output = ()>>>,
) -> libtest_mimic::Trial {
    let module = module.split_once("::").map_or(module, |(_, module)| module);
    libtest_mimic::Trial::test(format!("{module}::{name}"), move || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?
            .block_on(test());
        Ok(())
    })
}
