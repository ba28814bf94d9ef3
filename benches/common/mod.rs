//! Messages as applications send them.
#![allow(dead_code)] // Each bench uses its part.

pub mod hub;
pub mod turns;

/// A put of about 200 bytes.
pub fn put(id: u64) -> String {
    let text = "The quick brown fox jumps over the lazy dog, and then does it again.";
    format!(
        r##"{{"#":"{id:09}","put":{{"chat/room/{id}":{{"_":{{"#":"chat/room/{id}",">":{{"text":1700000000000}}}},"text":"{text}"}}}}}}"##
    )
}

/// A question for a node.
pub fn get(id: u64) -> String {
    format!(r##"{{"#":"g{id:08}","get":{{"#":"chat/room/{id}"}}}}"##)
}

/// The answer to [`get`] with the same id.
pub fn answer(id: u64) -> String {
    format!(
        r###"{{"#":"a{id:08}","@":"g{id:08}","##":{id},"put":{{"chat/room/{id}":{{"_":{{"#":"chat/room/{id}",">":{{"n":1}}}},"n":1}}}}}}"###
    )
}

/// Puts in one frame.
pub fn batch(count: u64) -> String {
    let puts: Vec<_> = (0..count).map(put).collect();
    format!("[{}]", puts.join(","))
}

/// One put whose value has this many bytes.
pub fn large(bytes: usize) -> String {
    let text = "x".repeat(bytes);
    format!(r##"{{"#":"large","put":{{"n":{{"_":{{"#":"n",">":{{"t":1}}}},"t":"{text}"}}}}}}"##)
}
