//! The inventory of images: their status, their users, and pruning.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use dm_core::labels;
use dm_engine::images::{Image, ImageContainer};
use serde::Serialize;

use super::derived::{LABEL_DERIVED_FROM, SCRATCH};
use super::error::ImageError;
use super::recipe::{LABEL_ORIGIN, LABEL_RECIPE};
use super::store::ImageStore;
use super::{ORIGIN_BUILT, ORIGIN_PULLED};

/// Whether an image is still used by the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageStatus {
    /// The next `dm up` would use it.
    Current,
    /// Its recipe, or its base image, has changed since.
    Stale,
    /// It is untagged: a remainder of a build.
    Dangling,
}

/// A container that uses an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ContainerUse {
    /// The instance of the container, if `dm` created it.
    pub instance: Option<String>,
    /// The container.
    pub container: String,
}

/// One image of the stack on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageInfo {
    /// The component.
    pub component: String,
    /// Its reference, if it is tagged.
    pub reference: Option<String>,
    /// Its id.
    pub id: String,
    /// Its size on disk in bytes, including shared layers.
    pub size: u64,
    /// The time of its creation.
    pub created: DateTime<Utc>,
    /// The digest of its recipe, if it was built from one.
    pub digest: Option<String>,
    /// How it was obtained.
    pub origin: String,
    /// Whether it is still used by the stack.
    pub status: ImageStatus,
    /// True for an image that contains the state after a first start.
    pub golden: bool,
    /// The containers that use it.
    pub in_use: Vec<ContainerUse>,
}

/// The result of pruning.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ImagePruneReport {
    /// The removed images.
    pub removed: Vec<ImageInfo>,
    /// The images that were not removed because they are in use.
    pub skipped: Vec<ImageInfo>,
    /// The freed bytes.
    pub freed: u64,
}

/// An image of the engine with its inventory entry.
struct LabelledImage {
    image: Image,
    info: ImageInfo,
}

impl ImageStore {
    /// Returns the images of the stack on this machine: all that carry `dm`'s labels, and
    /// the official ones that are used unchanged.
    ///
    /// # Errors
    /// Returns [`ImageError::Engine`] if the engine fails.
    pub async fn list_images(&self) -> Result<Vec<ImageInfo>, ImageError> {
        let mut rows: Vec<_> = self
            .labelled_images()
            .await?
            .into_iter()
            .map(|labelled| labelled.info)
            .collect();
        let labelled_ids: HashSet<_> = rows.iter().map(|row| row.id.clone()).collect();
        let mut users = self.engine.containers_by_image().await?;
        for spec in self.catalog.specs() {
            let Some(official) = self.official_reference(spec) else {
                continue;
            };
            let reference = official.to_string();
            let Some(image) = self.engine.inspect_image(&reference).await? else {
                continue;
            };
            if labelled_ids.contains(&image.id) {
                continue;
            }
            rows.push(ImageInfo {
                component: spec.recipe.name.clone(),
                in_use: container_uses(users.remove(&image.id)),
                reference: Some(reference),
                id: image.id,
                size: image.size,
                created: image.created,
                digest: None,
                origin: ORIGIN_PULLED.to_owned(),
                status: ImageStatus::Current,
                golden: false,
            });
        }
        rows.sort_by(|left, right| {
            (&left.component, left.golden, right.created).cmp(&(
                &right.component,
                right.golden,
                left.created,
            ))
        });
        Ok(rows)
    }

    /// Removes the images with `dm`'s labels that no container uses: the stale and
    /// dangling ones, with `all` also the current ones. Never removes other images.
    ///
    /// # Errors
    /// Returns [`ImageError::Engine`] if the engine fails, and [`ImageError::Cancelled`] on
    /// cancellation.
    pub async fn prune(&self, all: bool) -> Result<ImagePruneReport, ImageError> {
        let mut candidates: Vec<_> = self
            .labelled_images()
            .await?
            .into_iter()
            .filter(|candidate| all || candidate.info.status != ImageStatus::Current)
            .collect();
        // A dependent image is younger than its base.
        candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.image.created));
        let mut report = ImagePruneReport::default();
        let mut removed = Vec::new();
        for candidate in candidates {
            if self.cancel.is_cancelled() {
                return Err(ImageError::Cancelled);
            }
            if !candidate.info.in_use.is_empty() {
                report.skipped.push(candidate.info);
                continue;
            }
            let was_removed = if candidate.image.references.is_empty() {
                self.engine.remove_image(&candidate.image.id).await?
            } else {
                let mut was_removed = true;
                for reference in &candidate.image.references {
                    was_removed &= self.engine.remove_image(reference).await?;
                }
                was_removed
            };
            if was_removed {
                removed.push(candidate.image);
                report.removed.push(candidate.info);
            } else {
                report.skipped.push(candidate.info);
            }
        }
        report.freed = freed_bytes(&removed, &self.remaining_images().await?);
        Ok(report)
    }

    /// Returns the references that the next run would use, as far as they exist here.
    pub(super) async fn current_references(&self) -> Result<BTreeSet<String>, ImageError> {
        let mut current = BTreeSet::new();
        for name in self.catalog.image_names() {
            let local = self.catalog.local_reference(name)?;
            if self.engine.inspect_image(&local).await?.is_some() {
                current.insert(local);
            }
            let spec = self.catalog.get(name)?;
            let Some(official) = self.official_reference(spec) else {
                continue;
            };
            if let Some(image) = self.engine.inspect_image(&official.to_string()).await? {
                current.insert(self.container_reference(spec, &official, &image));
            }
        }
        if let Some(services) = &self.services {
            for name in services.names() {
                let image = self.find_local_service(services, name).await?;
                current.extend(image.map(|image| image.reference));
            }
        }
        Ok(current)
    }

    /// Returns every image with `dm`'s labels.
    async fn labelled_images(&self) -> Result<Vec<LabelledImage>, ImageError> {
        let current = self.current_references().await?;
        let mut users = self.engine.containers_by_image().await?;
        let mut images = Vec::new();
        for listed in self
            .engine
            .list_images_with_label(labels::COMPONENT)
            .await?
        {
            let component = listed.labels.get(labels::COMPONENT);
            if !component.is_some_and(|name| self.components.contains(name)) {
                continue;
            }
            // The list contains no layers; an image that was removed meanwhile is skipped.
            images.extend(self.engine.inspect_image(&listed.id).await?);
        }
        images.sort_by_key(|image| std::cmp::Reverse(image.created));
        let mut newest = HashMap::new();
        for image in images
            .iter()
            .filter(|image| image.labels.contains_key(LABEL_DERIVED_FROM))
        {
            newest
                .entry(component_label(image))
                .or_insert_with(|| image.id.clone());
        }
        Ok(images
            .into_iter()
            .map(|image| {
                let status = image_status(&image, &current, newest.get(&component_label(&image)));
                let used = container_uses(users.remove(&image.id));
                LabelledImage {
                    info: image_info(&image, status, used),
                    image,
                }
            })
            .collect())
    }

    /// Returns the remaining images, which may share layers with removed ones.
    async fn remaining_images(&self) -> Result<Vec<Image>, ImageError> {
        let mut remaining = Vec::new();
        for listed in self
            .engine
            .list_images_with_label(labels::COMPONENT)
            .await?
        {
            remaining.extend(self.engine.inspect_image(&listed.id).await?);
        }
        for spec in self.catalog.specs() {
            if let Some(official) = self.official_reference(spec) {
                remaining.extend(self.engine.inspect_image(&official.to_string()).await?);
            }
        }
        Ok(remaining)
    }
}

fn component_label(image: &Image) -> String {
    image
        .labels
        .get(labels::COMPONENT)
        .cloned()
        .unwrap_or_default()
}

/// Returns the status of an image. It is current if the next run would use it. A derived
/// image is current if its base is current and it is the newest of its component.
fn image_status(image: &Image, current: &BTreeSet<String>, newest: Option<&String>) -> ImageStatus {
    if image.references.is_empty() {
        return ImageStatus::Dangling;
    }
    let is_current = match image.labels.get(LABEL_DERIVED_FROM) {
        // A service's image is identified by its reference, like any other.
        Some(base) if base != SCRATCH => current.contains(base) && newest == Some(&image.id),
        _ => image
            .references
            .iter()
            .any(|reference| current.contains(reference)),
    };
    if is_current {
        ImageStatus::Current
    } else {
        ImageStatus::Stale
    }
}

fn image_info(image: &Image, status: ImageStatus, in_use: Vec<ContainerUse>) -> ImageInfo {
    let derived = image.labels.contains_key(LABEL_DERIVED_FROM);
    ImageInfo {
        component: component_label(image),
        reference: image.references.first().cloned(),
        id: image.id.clone(),
        size: image.size,
        created: image.created,
        // A derived image inherits the label from its base.
        digest: image.labels.get(LABEL_RECIPE).filter(|_| !derived).cloned(),
        origin: image
            .labels
            .get(LABEL_ORIGIN)
            .map_or_else(|| ORIGIN_BUILT.to_owned(), Clone::clone),
        status,
        golden: image.labels.contains_key(labels::GOLDEN),
        in_use,
    }
}

fn container_uses(users: Option<Vec<ImageContainer>>) -> Vec<ContainerUse> {
    let mut in_use: Vec<_> = users
        .unwrap_or_default()
        .into_iter()
        .map(|user| ContainerUse {
            instance: user.labels.get(labels::INSTANCE).cloned(),
            container: user.container,
        })
        .collect();
    in_use.sort();
    in_use
}

/// Returns the bytes that the removal of images freed: their sizes, without the layers that
/// they share with a remaining image or with an image that was counted before.
fn freed_bytes(removed: &[Image], remaining: &[Image]) -> u64 {
    let mut counted: Vec<&Image> = remaining.iter().collect();
    let mut freed = 0;
    // A base has fewer layers and is counted first.
    let mut removed: Vec<_> = removed.iter().collect();
    removed.sort_by_key(|image| image.layers.len());
    for image in removed {
        let shared = counted
            .iter()
            .filter(|other| image.layers.starts_with(&other.layers))
            .map(|other| other.size)
            .max()
            .unwrap_or_default();
        freed += image.size.saturating_sub(shared);
        counted.push(image);
    }
    freed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(id: &str, size: u64, layers: &[&str]) -> Image {
        Image {
            digests: Vec::new(),
            id: id.into(),
            references: vec![format!("dm/{id}:1")],
            size,
            created: DateTime::default(),
            labels: HashMap::from([(labels::COMPONENT.to_owned(), id.to_owned())]),
            layers: layers.iter().map(|&layer| layer.to_owned()).collect(),
        }
    }

    #[test]
    fn freed_bytes_counts_shared_layers_once_and_only_if_unused() {
        let base = image("base", 80, &["a"]);
        let postgres = image("postgres", 200, &["a", "b"]);
        let ldap = image("ldap", 100, &["a", "c"]);
        let all = [postgres.clone(), ldap.clone(), base.clone()];
        assert_eq!(freed_bytes(&all, &[]), 80 + 120 + 20);
        assert_eq!(freed_bytes(&[postgres], &[base, ldap]), 120);
    }

    #[test]
    fn derived_image_is_stale_if_its_base_is_stale_or_a_newer_one_exists() {
        let current = BTreeSet::from(["dm/postgres:new".to_owned()]);
        let mut golden = image("golden", 1, &[]);
        let newest = "golden".to_owned();
        for (base, expected) in [
            ("dm/postgres:new", ImageStatus::Current),
            ("dm/postgres:old", ImageStatus::Stale),
        ] {
            golden.labels.insert(LABEL_DERIVED_FROM.into(), base.into());
            assert_eq!(
                image_status(&golden, &current, Some(&newest)),
                expected,
                "{base}"
            );
        }
        golden.id = "older".into();
        assert_eq!(
            image_status(&golden, &current, Some(&newest)),
            ImageStatus::Stale
        );
        golden.references.clear();
        assert_eq!(
            image_status(&golden, &current, Some(&newest)),
            ImageStatus::Dangling
        );
    }

    #[test]
    fn service_image_is_current_by_its_reference() {
        let mut order = image("order", 1, &[]);
        order
            .labels
            .insert(LABEL_DERIVED_FROM.into(), SCRATCH.into());
        let current = BTreeSet::from(["dm/order:1".to_owned()]);
        assert_eq!(image_status(&order, &current, None), ImageStatus::Current);
        assert_eq!(
            image_status(&order, &BTreeSet::new(), None),
            ImageStatus::Stale
        );
    }
}
