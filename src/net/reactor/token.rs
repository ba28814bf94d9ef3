//! What the poll calls a reactor's sockets.
//!
//! Owns: the tokens. Must not know: what is behind them.
//!
//! A connection's token is the index of its slot, and a generation that tells it from those that had
//! the slot before.

use mio::Token;

/// The token of commands from other threads.
pub const COMMANDS: Token = Token(usize::MAX);
/// The token of plain listeners.
pub const LISTENER: Token = Token(usize::MAX - 1);
/// The token of listeners where TLS is spoken.
pub const TLS_LISTENER: Token = Token(usize::MAX - 2);

/// No generation has the highest bit, so that no connection has a token from above.
const GENERATION_MASK: u32 = 0x7fff_ffff;

/// The generation after this one.
pub fn next_generation(generation: u32) -> u32 {
    generation.wrapping_add(1) & GENERATION_MASK
}

/// The token of a connection.
pub fn pack(index: usize, generation: u32) -> Token {
    Token((generation as usize) << 32 | index)
}

/// The slot of a connection.
pub fn index(token: Token) -> usize {
    token.0 & 0xffff_ffff
}

/// The generation of a connection.
pub fn generation(token: Token) -> u32 {
    (token.0 >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_connections_are_told_apart_and_are_none_of_ours() {
        let last = GENERATION_MASK;
        assert_eq!((next_generation(0), next_generation(last)), (1, 0));
        for (slot, born) in [(0, 0), (7, 1), (7, last), (0xffff_ffff, last)] {
            let token = pack(slot, born);
            assert_eq!((index(token), generation(token)), (slot, born));
            assert!(![COMMANDS, LISTENER, TLS_LISTENER].contains(&token));
        }
    }
}
