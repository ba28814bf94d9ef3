//! Which cores a server has, and which the generator.

/// What puts a server that is to have so many cores, and the generator, on cores of their own, of so many
/// that there are. Where these are too few for both, they share: a server with more than one core keeps
/// them, and the generator may use all. Without two cores, nobody is put anywhere.
pub fn pins(server: usize, cores: usize) -> [Vec<String>; 2] {
    let pin = |from: usize, to: usize| {
        vec!["taskset".to_owned(), "-c".to_owned(), format!("{from}-{}", to - 1)]
    };
    match cores {
        0 | 1 => [Vec::new(), Vec::new()],
        _ if server < cores => [pin(0, server), pin(server, server + 1)],
        _ => [pin(0, cores), pin(0, cores)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_have_cores_of_their_own_where_there_are_enough() {
        let lists = |server, cores| pins(server, cores).map(|pin| pin.last().cloned());
        let some = |list: &str| Some(list.to_owned());
        assert_eq!(lists(1, 2), [some("0-0"), some("1-1")]);
        assert_eq!(lists(2, 4), [some("0-1"), some("2-2")]);
        assert_eq!(lists(2, 2), [some("0-1"), some("0-1")]);
        assert_eq!(lists(2, 1), [None, None]);
    }
}
