//! A server in a container, for all tests of a process.

use std::sync::mpsc;
use std::thread;

use dm_core::labels;
use dm_engine::exec::ExecSpec;
use dm_engine::throwaway::{ThrowawayContainer, ThrowawaySpec};
use dm_engine::{Engine, EngineSettings};

/// Starts the server of a component, runs a command in its container, and returns the port of
/// the server on the loopback address.
///
/// It ends with this process: a thread holds the connection that keeps it running.
///
/// # Errors
/// Returns what is missing and the command that provides it.
pub(crate) fn start(
    component: &'static str,
    spec: ThrowawaySpec,
    setup: Option<ExecSpec>,
) -> Result<u16, String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return drop(sender.send(Err(error.to_string()))),
        };
        runtime.block_on(async {
            match start_container(component, spec, setup).await {
                Ok(container) => {
                    let _ = sender.send(Ok(container.port()));
                    std::future::pending::<()>().await;
                }
                Err(error) => drop(sender.send(Err(error))),
            }
        });
    });
    receiver
        .recv()
        .unwrap_or_else(|_| Err("the thread of the server has ended".to_owned()))
}

async fn start_container(
    component: &str,
    spec: ThrowawaySpec,
    setup: Option<ExecSpec>,
) -> Result<ThrowawayContainer, String> {
    let engine = Engine::connect(&EngineSettings::default())
        .await
        .map_err(|error| {
            format!("this test needs a container engine: {error}; run: dm engine start --yes")
        })?;
    let label = format!("{}={component}", labels::COMPONENT);
    let images = engine.list_images_with_label(&label).await;
    let image = images
        .map_err(|error| error.to_string())?
        .into_iter()
        .filter(|image| !image.labels.contains_key(labels::GOLDEN))
        .max_by_key(|image| image.created)
        .and_then(|image| image.references.into_iter().next())
        .ok_or_else(|| {
            format!(
                "this test needs the image of {component}; run: dm images build {component} --yes"
            )
        })?;
    let message = |error: dm_engine::EngineError| {
        format!("{error}: {}", error.engine_message().unwrap_or_default())
    };
    let container = engine
        .start_throwaway_container(&ThrowawaySpec { image, ..spec })
        .await
        .map_err(message)?;
    if let Some(setup) = setup {
        let output = engine.exec_output(container.id(), &setup).await;
        let output = output.map_err(message)?;
        if output.exit_code != 0 {
            return Err(format!(
                "the set-up of {component} failed: {}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            ));
        }
    }
    Ok(container)
}
