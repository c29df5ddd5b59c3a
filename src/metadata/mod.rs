//! L3, the immutable image of the cluster and how it changes.
