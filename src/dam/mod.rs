//! Gun's mesh. Knows no sockets.
