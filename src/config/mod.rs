//! L1, server.properties: one row a key, and the typed values that other rooms read.
