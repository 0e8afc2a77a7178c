//! Tests of images with a real engine and a real registry on the loopback interface.
//!
//! The tests need an engine: `./dm test` starts one first. Everything that they create has a name
//! of its own and is removed at the end.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic shows where a test failed"
)]

mod support;

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use dm_core::error::UserError;
use dm_engine::images::RegistryLogin;
use dm_images::catalog::{Catalog, ImageSpec};
use dm_images::error::PullFailure;
use dm_images::inventory::ImageStatus;
use dm_images::recipe::{Recipe, RecipeFile, Sha256Digest};
use dm_images::settings::{ImageSettings, SourcePolicy};
use dm_images::{DerivedImageSpec, ImageError, ImageOrigin};
use tokio_util::sync::CancellationToken;

use support::{EngineFixture, registry::Registry};

/// Returns the specification of a base image and of an image on it, which has the given official
/// counterpart.
fn specs(fixture: &EngineFixture, official: Option<String>) -> Vec<ImageSpec> {
    let base = Recipe {
        name: fixture.name("base"),
        version: "1".into(),
        files: vec![
            RecipeFile::new("Dockerfile", b"FROM scratch\nCOPY a /a\n".as_slice()),
            RecipeFile::new("a", fixture.unique().into_bytes()),
        ],
        ..Recipe::default()
    };
    let image = Recipe {
        name: fixture.name("app"),
        version: "1".into(),
        files: vec![
            RecipeFile::new(
                "Dockerfile",
                b"ARG BASE\nFROM ${BASE}\nCOPY b /b\nCMD [\"/b\"]\n".as_slice(),
            ),
            RecipeFile::new("b", fixture.unique().into_bytes()),
        ],
        base: Some(fixture.name("base")),
        ..Recipe::default()
    };
    let spec = |recipe, official| ImageSpec {
        recipe,
        official,
        overlay: None,
    };
    vec![spec(base, None), spec(image, official)]
}

fn settings_for(source: SourcePolicy) -> ImageSettings {
    ImageSettings {
        source,
        ..ImageSettings::default()
    }
}

fn refusal(error: &ImageError) -> &PullFailure {
    match error {
        ImageError::Pull { failure, .. } => failure,
        error => panic!("{error:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn image_is_built_once_and_reused() {
    let fixture = EngineFixture::new().await;
    let catalog = Catalog::new(specs(&fixture, None));
    let images = fixture.images(catalog, settings_for(SourcePolicy::Build));
    let app = fixture.name("app");
    let built = images.acquire(&app).await.unwrap();
    assert_eq!(built.origin, ImageOrigin::Built);
    let again = images.acquire(&app).await.unwrap();
    assert_eq!(again.origin, ImageOrigin::Local);
    assert_eq!(again.reference, built.reference);
    assert_eq!(again.id, built.id);
    let steps = fixture.progress().updates(&app, "building");
    assert!(
        steps.iter().any(|update| update.total == Some(5)),
        "{steps:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pull_reports_progress_in_bytes() {
    let fixture = EngineFixture::new().await;
    let registry = Registry::start(None).await;
    let official = registry.push(&fixture, "app", None).await;
    let catalog = Catalog::new(specs(&fixture, Some(official.clone())));
    let images = fixture.images(catalog, settings_for(SourcePolicy::Auto));
    let app = fixture.name("app");
    let pulled = images.acquire(&app).await.unwrap();
    assert_eq!(
        (pulled.origin, &pulled.reference),
        (ImageOrigin::Pulled, &official)
    );
    let updates = fixture.progress().updates(&app, "pulling");
    assert!(
        updates.iter().any(|update| {
            update.total.is_some_and(|total| total > 0) && update.current == update.total
        }),
        "{updates:?}"
    );
    assert_eq!(
        images.acquire(&app).await.unwrap().origin,
        ImageOrigin::Local
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pull_with_a_mirror_uses_the_mirror() {
    let fixture = EngineFixture::new().await;
    let registry = Registry::start(None).await;
    let name = fixture.name("official");
    let pushed = registry
        .push(&fixture, &format!("library/{name}"), None)
        .await;
    let images = fixture.images(
        Catalog::new(specs(&fixture, Some(format!("{name}:1")))),
        ImageSettings {
            mirror: Some(registry.address()),
            ..settings_for(SourcePolicy::Pull)
        },
    );
    let pulled = images.acquire(&fixture.name("app")).await.unwrap();
    assert_eq!(pulled.reference, pushed);
}

#[tokio::test(flavor = "multi_thread")]
async fn pull_of_an_unknown_image_fails_with_not_found() {
    let fixture = EngineFixture::new().await;
    let registry = Registry::start(None).await;
    let official = format!("{}/{}:1", registry.address(), fixture.name("nothing"));
    let images = fixture.images(
        Catalog::new(specs(&fixture, Some(official))),
        settings_for(SourcePolicy::Pull),
    );
    let error = images.acquire(&fixture.name("app")).await.unwrap_err();
    assert_eq!(refusal(&error), &PullFailure::NotFound);
    assert_eq!(error.code().as_str(), "image-not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn pull_succeeds_only_with_the_registrys_credentials() {
    let fixture = EngineFixture::new().await;
    // Its base64 has characters that differ in the URL-safe alphabet.
    let mut login = RegistryLogin {
        registry: String::new(),
        username: "dm".into(),
        password: "ÿ?>~ÿ?>~ÿ".into(),
    };
    let registry = Registry::start(Some(&login)).await;
    login.registry = registry.address();
    let official = registry.push(&fixture, "app", Some(&login)).await;
    let attempt = async |credentials: Option<RegistryLogin>| {
        let settings = ImageSettings {
            credentials,
            ..settings_for(SourcePolicy::Pull)
        };
        let catalog = Catalog::new(specs(&fixture, Some(official.clone())));
        fixture
            .images(catalog, settings)
            .acquire(&fixture.name("app"))
            .await
    };
    let wrong = RegistryLogin {
        password: "wrong".into(),
        ..login.clone()
    };
    // Credentials of another registry must not be sent to this one.
    let foreign = RegistryLogin {
        registry: "registry.example".into(),
        ..login.clone()
    };
    for credentials in [None, Some(wrong), Some(foreign)] {
        let error = attempt(credentials).await.unwrap_err();
        assert_eq!(refusal(&error), &PullFailure::Unauthorized, "{error:?}");
        assert_eq!(error.code().as_str(), "registry-credentials");
    }
    assert_eq!(
        attempt(Some(login)).await.unwrap().origin,
        ImageOrigin::Pulled
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn moved_tag_yields_the_pinned_image_until_an_explicit_pull() {
    let fixture = EngineFixture::new().await;
    let registry = Registry::start(None).await;
    let official = registry.push(&fixture, "app", None).await;
    let app = fixture.name("app");
    let images = fixture.images(
        Catalog::new(specs(&fixture, Some(official.clone()))),
        settings_for(SourcePolicy::Pull),
    );
    let first = images.acquire(&app).await.unwrap();
    fixture.remove(&official).await;
    // A different image is pushed under the same tag.
    assert_eq!(registry.push(&fixture, "app", None).await, official);
    let again = images.acquire(&app).await.unwrap();
    assert_eq!((again.origin, &again.id), (ImageOrigin::Pulled, &first.id));
    // An explicit pull accepts the image that the tag refers to now.
    let newest = images.pull(&[&app]).await.unwrap();
    assert_ne!(newest[0].id, first.id);
    assert!(
        fixture
            .progress()
            .notes()
            .iter()
            .any(|note| note.contains("instead of"))
    );
    assert_eq!(images.acquire(&app).await.unwrap().id, newest[0].id);
    // A different local image under this name is refused.
    fixture.tag(&first.id, &official).await;
    let error = images.acquire(&app).await.unwrap_err();
    assert_eq!(error.code().as_str(), "image-moved");
    assert!(error.suggestions()[0].ends_with(&format!("dm images pull {app}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_registry_fails_source_pull_and_builds_with_source_auto() {
    let fixture = EngineFixture::new().await;
    let registry = Registry::start(None).await;
    let address = registry.address();
    drop(registry);
    let catalog = Catalog::new(specs(&fixture, Some(format!("{address}/app:1"))));
    let app = fixture.name("app");
    let error = fixture
        .images(catalog.clone(), settings_for(SourcePolicy::Pull))
        .acquire(&app)
        .await
        .unwrap_err();
    assert_eq!(refusal(&error), &PullFailure::Unreachable);
    let built = fixture
        .images(catalog, settings_for(SourcePolicy::Auto))
        .acquire(&app)
        .await
        .unwrap();
    assert_eq!(built.origin, ImageOrigin::Built);
    let notes = fixture.progress().notes();
    assert_eq!(
        notes,
        [format!(
            "could not reach the registry {address}: building {app} here"
        )]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn unresponsive_registry_times_out_once_for_all_images() {
    let fixture = EngineFixture::new().await;
    // The listener accepts connections and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let mut catalog = specs(&fixture, Some(format!("{address}/app:1")));
    let mut second = catalog[1].clone();
    second.recipe.name = fixture.name("second");
    catalog.push(second);
    let images = fixture.images(
        Catalog::new(catalog),
        ImageSettings {
            pull_timeout: Duration::from_millis(300),
            ..settings_for(SourcePolicy::Pull)
        },
    );
    for name in ["app", "second"] {
        let error = images.acquire(&fixture.name(name)).await.unwrap_err();
        let limit = Duration::from_millis(300);
        assert_eq!(refusal(&error), &PullFailure::TimedOut { after: limit });
        assert_eq!(error.exit_status(), dm_core::error::ExitStatus::TimedOut);
    }
    // The second image was not requested from the registry.
    assert!(
        fixture
            .progress()
            .updates(&fixture.name("second"), "pulling")
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_builds_of_one_image_build_once() {
    let fixture = EngineFixture::new().await;
    let catalog = Catalog::new(specs(&fixture, None));
    // The two share only the state directory, as two processes would.
    let (one, two) = (
        fixture.images(catalog.clone(), settings_for(SourcePolicy::Build)),
        fixture.images(catalog, settings_for(SourcePolicy::Build)),
    );
    let app = fixture.name("app");
    let (one, two) = tokio::join!(one.acquire(&app), two.acquire(&app));
    assert_eq!(one.unwrap().id, two.unwrap().id);
    let builds = fixture
        .progress()
        .updates(&app, "building")
        .into_iter()
        .filter(|update| update.detail.as_deref() == Some("sending the context"))
        .count();
    assert_eq!(builds, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_build_step_is_named_and_leaves_no_image() {
    let fixture = EngineFixture::new().await;
    let mut specs = specs(&fixture, None);
    specs[1].recipe.files[0] = RecipeFile::new(
        "Dockerfile",
        b"ARG BASE\nFROM ${BASE}\nCOPY b /b\nCOPY missing /missing\n".as_slice(),
    );
    let images = fixture.images(Catalog::new(specs), settings_for(SourcePolicy::Build));
    images.acquire(&fixture.name("base")).await.unwrap();
    let before = fixture.image_ids().await;
    let error = images.acquire(&fixture.name("app")).await.unwrap_err();
    let ImageError::Build { step, reason, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(step.as_deref(), Some("4/5: COPY missing /missing"));
    assert!(reason.contains("missing"), "{reason}");
    assert_eq!(fixture.image_ids().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_build_leaves_no_images_or_containers() {
    let fixture = EngineFixture::new().await;
    let root = fixture.root_with_sleep();
    let mut specs = specs(&fixture, None);
    specs[0].recipe.files = vec![
        RecipeFile::new("Dockerfile", b"FROM scratch\nADD root.tar /\n".as_slice()),
        RecipeFile::new("root.tar", root),
    ];
    specs[1].recipe.files[0] = RecipeFile::new(
        "Dockerfile",
        b"ARG BASE\nFROM ${BASE}\nCOPY b /b\nRUN [\"/bin/sleep\", \"600\"]\n".as_slice(),
    );
    let cancel = CancellationToken::new();
    let app = fixture.name("app");
    let stop = cancel.clone();
    fixture.progress().on_update(move |_, update| {
        if update
            .detail
            .as_deref()
            .is_some_and(|detail| detail == "RUN")
        {
            stop.cancel();
        }
    });
    let images = fixture
        .images(Catalog::new(specs), settings_for(SourcePolicy::Build))
        .with_cancel(cancel);
    images.acquire(&fixture.name("base")).await.unwrap();
    let before = (fixture.image_ids().await, fixture.container_ids().await);
    let error = images.acquire(&app).await.unwrap_err();
    assert!(matches!(error, ImageError::Cancelled), "{error:?}");
    // The engine stops the step asynchronously.
    fixture
        .eventually(async || (fixture.image_ids().await, fixture.container_ids().await) == before)
        .await;
    assert!(fixture.work_directory_is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn saved_images_are_loaded_under_their_names() {
    let fixture = EngineFixture::new().await;
    let images = fixture.images(
        Catalog::new(specs(&fixture, None)),
        settings_for(SourcePolicy::Build),
    );
    let app = images.acquire(&fixture.name("app")).await.unwrap();
    let golden = images
        .build_derived(&derivation(&fixture, "app", &app.reference), tar_stream())
        .await
        .unwrap();
    let file = fixture.path("images.tar.zst");
    let lean = images.save_archive(&file, false).await.unwrap();
    assert!(lean.images.iter().all(|image| !image.golden));
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let saved = images.save_archive(&file, true).await.unwrap();
    let mut names: Vec<_> = saved.images.iter().map(|image| &image.reference).collect();
    names.sort();
    assert!(
        names.contains(&&app.reference) && names.contains(&&golden),
        "{names:?}"
    );
    images.prune(true).await.unwrap();
    assert_eq!(images.find_local(&fixture.name("app")).await.unwrap(), None);
    let loaded = images.load_archive(&file).await.unwrap();
    assert_eq!(loaded.images, saved.images);
    let found = images.acquire(&fixture.name("app")).await.unwrap();
    assert_eq!((found.origin, found.id), (ImageOrigin::Local, app.id));
    let rows = images.list_images().await.unwrap();
    assert!(
        rows.iter()
            .any(|row| row.golden && row.status == ImageStatus::Current)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_archive_is_refused_and_loads_no_image() {
    let fixture = EngineFixture::new().await;
    let images = fixture.images(
        Catalog::new(specs(&fixture, None)),
        settings_for(SourcePolicy::Build),
    );
    images.acquire(&fixture.name("app")).await.unwrap();
    let file = fixture.path("images.tar.zst");
    images.save_archive(&file, true).await.unwrap();
    images.prune(true).await.unwrap();
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 10]).unwrap();
    let error = images.load_archive(&file).await.unwrap_err();
    assert!(error.to_string().ends_with("it is truncated"), "{error}");
    assert_eq!(images.find_local(&fixture.name("app")).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn prune_removes_only_stale_unused_images_of_dm() {
    let fixture = EngineFixture::new().await;
    let foreign = fixture.foreign_image("foreign").await;
    let old = fixture.images(
        Catalog::new(specs(&fixture, None)),
        settings_for(SourcePolicy::Build),
    );
    let stale = old.acquire(&fixture.name("app")).await.unwrap();
    let used = {
        let mut changed = specs(&fixture, None);
        changed[1].recipe.version = "used".into();
        let images = fixture.images(Catalog::new(changed), settings_for(SourcePolicy::Build));
        images.acquire(&fixture.name("app")).await.unwrap()
    };
    fixture.create_container(&used.reference).await;
    let mut changed = specs(&fixture, None);
    changed[1].recipe.version = "2".into();
    let images = fixture.images(Catalog::new(changed), settings_for(SourcePolicy::Build));
    let current = images.acquire(&fixture.name("app")).await.unwrap();
    let pruned = images.prune(false).await.unwrap();
    let removed: Vec<_> = pruned
        .removed
        .iter()
        .filter_map(|row| row.reference.as_ref())
        .collect();
    assert!(removed.contains(&&stale.reference), "{removed:?}");
    assert!(!removed.contains(&&current.reference), "{removed:?}");
    assert!(fixture.has(&current.reference).await);
    assert!(fixture.has(&used.reference).await);
    assert!(fixture.has(&foreign).await);
    assert!(!fixture.has(&stale.reference).await);
    let kept = pruned
        .skipped
        .iter()
        .find(|row| row.reference.as_ref() == Some(&used.reference))
        .unwrap();
    assert_eq!(kept.in_use[0].instance.as_deref(), Some(support::INSTANCE));
}

#[tokio::test(flavor = "multi_thread")]
async fn derived_image_is_built_once_and_keeps_file_owners() {
    let fixture = EngineFixture::new().await;
    let images = fixture.images(
        Catalog::new(specs(&fixture, None)),
        settings_for(SourcePolicy::Build),
    );
    let base = images.acquire(&fixture.name("base")).await.unwrap();
    let derivation = derivation(&fixture, "base", &base.reference);
    let made = images
        .build_derived(&derivation, tar_stream())
        .await
        .unwrap();
    assert_eq!(made, derivation.reference());
    // The second build must not read the files.
    let unread = futures_util::stream::iter([Err(std::io::Error::other("the files were read"))]);
    assert_eq!(
        images.build_derived(&derivation, unread).await.unwrap(),
        made
    );
    assert_eq!(fixture.owner_of_file(&made, "/data/file").await, (999, 998));
}

/// The engine searches the cache of all builds for each step, and fails if an image is removed
/// meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn builds_succeed_while_other_images_are_removed() {
    let builds: Vec<_> = (0..4)
        .map(|_| {
            tokio::spawn(async {
                for _ in 0..5 {
                    let fixture = EngineFixture::new().await;
                    let catalog = Catalog::new(specs(&fixture, None));
                    let images = fixture.images(catalog, settings_for(SourcePolicy::Build));
                    images.acquire(&fixture.name("app")).await.unwrap();
                    // The fixture removes its images.
                }
            })
        })
        .collect();
    for build in builds {
        build.await.unwrap();
    }
}

/// Returns the specification of the golden image of a component from the catalogue.
fn derivation(fixture: &EngineFixture, component: &str, from: &str) -> DerivedImageSpec {
    DerivedImageSpec {
        component: fixture.name(component),
        progress_name: fixture.name(component),
        content_digest: Sha256Digest::compute(fixture.unique().as_bytes()),
        base_image: from.to_owned(),
        golden: true,
        target_dir: "/data".into(),
        labels: HashMap::new(),
        instructions: vec!["CMD [\"/data/file\"]".into()],
    }
}

/// Returns a tar with one file, which belongs to a user and a group of its own.
fn tar_stream() -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + Unpin {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(4);
    header.set_mode(0o600);
    header.set_uid(999);
    header.set_gid(998);
    tar.append_data(&mut header, "file", b"data".as_slice())
        .unwrap();
    let tar = tar.into_inner().unwrap();
    // The tar is split into chunks, as an engine sends it.
    let pieces: Vec<_> = tar
        .chunks(300)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    futures_util::stream::iter(pieces)
}
