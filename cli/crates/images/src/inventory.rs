//! What images there are, who uses them, and what can go.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use dm_engine::images::{Image, ImageContainer};
use serde::Serialize;

use super::derived::{LABEL_DERIVED_FROM, LABEL_GOLDEN, SCRATCH};
use super::error::ImageError;
use super::recipe::{LABEL_COMPONENT, LABEL_ORIGIN, LABEL_RECIPE};
use super::store::ImageStore;
use super::{ORIGIN_BUILT, ORIGIN_PULLED};

/// The label with the instance that a container belongs to.
const LABEL_INSTANCE: &str = "com.dundermifflin.dm.instance";

/// What an image is worth now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageStatus {
    /// The next `dm up` would use it.
    Current,
    /// Its recipe, or what it stands on, has changed since.
    Stale,
    /// It has no name any more, or never got one: the rest of a build.
    Dangling,
}

/// A container that uses an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ContainerUse {
    /// The instance that the container belongs to, if it is one of `dm`'s.
    pub instance: Option<String>,
    /// The container.
    pub container: String,
}

/// One image of the stack that is on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageInfo {
    /// The component.
    pub component: String,
    /// Its reference, where it has one.
    pub reference: Option<String>,
    /// Its id.
    pub id: String,
    /// Bytes on disk, shared layers included.
    pub size: u64,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// The digest of its recipe, where it was made from one.
    pub digest: Option<String>,
    /// How it was obtained.
    pub origin: String,
    /// What it is worth now.
    pub standing: ImageStatus,
    /// True for one that holds the state after a first start.
    pub golden: bool,
    /// Who uses it.
    pub in_use: Vec<ContainerUse>,
}

/// What a removal did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ImagePruneReport {
    /// The images that are gone.
    pub removed: Vec<ImageInfo>,
    /// The images that would have gone, but something still needs them.
    pub kept: Vec<ImageInfo>,
    /// The bytes that are free now.
    pub freed: u64,
}

/// An image with what is known of it.
struct LabelledImage {
    image: Image,
    info: ImageInfo,
}

impl ImageStore {
    /// The images of the stack on this machine: all that carry `dm`'s labels, and
    /// the official ones that are used as they are.
    ///
    /// # Errors
    /// Where the engine fails.
    pub async fn list_images(&self) -> Result<Vec<ImageInfo>, ImageError> {
        let mut rows: Vec<_> = self
            .labelled_images()
            .await?
            .into_iter()
            .map(|known| known.info)
            .collect();
        let labelled: HashSet<_> = rows.iter().map(|row| row.id.clone()).collect();
        let mut users = self.engine.containers_by_image().await?;
        for spec in self.catalog.specs() {
            let Some(official) = self.official_reference(spec) else {
                continue;
            };
            let reference = official.to_string();
            let Some(image) = self.engine.inspect_image(&reference).await? else {
                continue;
            };
            if labelled.contains(&image.id) {
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
                standing: ImageStatus::Current,
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
    /// dangling ones, or with `all` the current ones too. Never touches another.
    ///
    /// # Errors
    /// Where the engine fails.
    pub async fn prune(&self, all: bool) -> Result<ImagePruneReport, ImageError> {
        let mut going: Vec<_> = self
            .labelled_images()
            .await?
            .into_iter()
            .filter(|known| all || known.info.standing != ImageStatus::Current)
            .collect();
        // What stands on another is younger than that.
        going.sort_by_key(|known| std::cmp::Reverse(known.image.created));
        let mut pruned = ImagePruneReport::default();
        let mut removed = Vec::new();
        for known in going {
            if self.cancel.is_cancelled() {
                return Err(ImageError::Cancelled);
            }
            if !known.info.in_use.is_empty() {
                pruned.kept.push(known.info);
                continue;
            }
            let gone = if known.image.references.is_empty() {
                self.engine.remove_image(&known.image.id).await?
            } else {
                let mut gone = true;
                for reference in &known.image.references {
                    gone &= self.engine.remove_image(reference).await?;
                }
                gone
            };
            if gone {
                removed.push(known.image);
                pruned.removed.push(known.info);
            } else {
                pruned.kept.push(known.info);
            }
        }
        pruned.freed = freed_bytes(&removed, &self.remaining_images().await?);
        Ok(pruned)
    }

    /// The references that the next run would use, as far as they are here.
    pub(super) async fn current_references(&self) -> Result<BTreeSet<String>, ImageError> {
        let mut current = BTreeSet::new();
        for name in self.catalog.image_names() {
            let built = self.catalog.local_reference(name)?;
            if self.engine.inspect_image(&built).await?.is_some() {
                current.insert(built);
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

    /// Every image with `dm`'s labels.
    async fn labelled_images(&self) -> Result<Vec<LabelledImage>, ImageError> {
        let current = self.current_references().await?;
        let mut users = self.engine.containers_by_image().await?;
        let mut images = Vec::new();
        for listed in self.engine.list_images_with_label(LABEL_COMPONENT).await? {
            let ours = listed.labels.get(LABEL_COMPONENT);
            if !ours.is_some_and(|component| self.components.contains(component)) {
                continue;
            }
            // The list knows no layers; gone meanwhile is gone.
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
                let standing = image_status(&image, &current, newest.get(&component_label(&image)));
                let used = container_uses(users.remove(&image.id));
                LabelledImage {
                    info: image_info(&image, standing, used),
                    image,
                }
            })
            .collect())
    }

    /// What is left of the images that others may share layers with.
    async fn remaining_images(&self) -> Result<Vec<Image>, ImageError> {
        let mut remaining = Vec::new();
        for listed in self.engine.list_images_with_label(LABEL_COMPONENT).await? {
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
        .get(LABEL_COMPONENT)
        .cloned()
        .unwrap_or_default()
}

/// An image is current where the next run would use it. A derived one, where what it
/// was made from is current and it is the newest for its component.
fn image_status(image: &Image, current: &BTreeSet<String>, newest: Option<&String>) -> ImageStatus {
    if image.references.is_empty() {
        return ImageStatus::Dangling;
    }
    let is_current = match image.labels.get(LABEL_DERIVED_FROM) {
        // A service's image is known by its reference, as any other is.
        Some(from) if from != SCRATCH => current.contains(from) && newest == Some(&image.id),
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

fn image_info(image: &Image, standing: ImageStatus, in_use: Vec<ContainerUse>) -> ImageInfo {
    let derived = image.labels.contains_key(LABEL_DERIVED_FROM);
    ImageInfo {
        component: component_label(image),
        reference: image.references.first().cloned(),
        id: image.id.clone(),
        size: image.size,
        created: image.created,
        // Inherited from what it was made from, where it is derived.
        digest: image.labels.get(LABEL_RECIPE).filter(|_| !derived).cloned(),
        origin: image
            .labels
            .get(LABEL_ORIGIN)
            .map_or_else(|| ORIGIN_BUILT.to_owned(), Clone::clone),
        standing,
        golden: image.labels.contains_key(LABEL_GOLDEN),
        in_use,
    }
}

fn container_uses(users: Option<Vec<ImageContainer>>) -> Vec<ContainerUse> {
    let mut in_use: Vec<_> = users
        .unwrap_or_default()
        .into_iter()
        .map(|user| ContainerUse {
            instance: user.labels.get(LABEL_INSTANCE).cloned(),
            container: user.container,
        })
        .collect();
    in_use.sort();
    in_use
}

/// The bytes that went with some images: their sizes, without the layers that an
/// image which is still there, or was counted already, has in common with them.
fn freed_bytes(removed: &[Image], remaining: &[Image]) -> u64 {
    let mut counted: Vec<&Image> = remaining.iter().collect();
    let mut freed = 0;
    // What stands lower has fewer layers, and is counted first.
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
            labels: HashMap::from([(LABEL_COMPONENT.to_owned(), id.to_owned())]),
            layers: layers.iter().map(|&layer| layer.to_owned()).collect(),
        }
    }

    #[test]
    fn shared_layers_are_freed_once_and_not_while_something_has_them() {
        let base = image("base", 80, &["a"]);
        let postgres = image("postgres", 200, &["a", "b"]);
        let ldap = image("ldap", 100, &["a", "c"]);
        let all = [postgres.clone(), ldap.clone(), base.clone()];
        assert_eq!(freed_bytes(&all, &[]), 80 + 120 + 20);
        assert_eq!(freed_bytes(&[postgres], &[base, ldap]), 120);
    }

    #[test]
    fn a_derived_image_goes_stale_with_what_it_was_made_from() {
        let current = BTreeSet::from(["dm/postgres:new".to_owned()]);
        let mut golden = image("golden", 1, &[]);
        let newest = "golden".to_owned();
        for (from, expected) in [
            ("dm/postgres:new", ImageStatus::Current),
            ("dm/postgres:old", ImageStatus::Stale),
        ] {
            golden.labels.insert(LABEL_DERIVED_FROM.into(), from.into());
            assert_eq!(
                image_status(&golden, &current, Some(&newest)),
                expected,
                "{from}"
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
    fn a_services_image_is_current_by_its_reference() {
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
