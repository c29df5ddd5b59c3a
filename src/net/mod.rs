//! L8, listeners, connections and their limits.
