//! See the manifest: features that tests add, for all builds alike.
