//! What the stack tests have in common: projects of their own on a real engine,
//! and the `dm` that is tested, run as a person runs it.

pub mod dm;
pub mod engine;
pub mod project;
pub mod proxy;
pub mod run;
pub mod servers;
pub mod shared;

pub use dm::Dm;
pub use engine::Engine;
pub use project::Project;
pub use shared::shared;

/// The infrastructure components, in the order in which they are shown.
pub const COMPONENTS: [&str; 4] = ["postgres", "rabbitmq", "openldap", "keycloak"];

/// Makes a trial of each of these async functions, named by its module.
#[macro_export]
macro_rules! test_list {
    ($($test:ident),+ $(,)?) => {
        /// The tests of this module.
        pub fn trials() -> Vec<libtest_mimic::Trial> {
            vec![$($crate::harness::trial(module_path!(), stringify!($test), || Box::pin($test()))),+]
        }
    };
}

/// A test with a runtime of its own. Calls of `dm` block its thread, so others
/// are there for what goes on beside them.
pub fn trial(
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
