//! RFC 6455. Knows no Gun.
