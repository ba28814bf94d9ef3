//! A relay that does nothing but broadcast, over tokio and tokio-tungstenite: every text goes to everybody
//! else as it is. It parses no message, remembers none, answers none, and limits nothing: what a relay
//! costs beyond that is what it does for Gun.
//!
//! `loadtest-broadcaster PORT` listens on this machine.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_async};

/// Messages that are written between two flushes.
const BATCH_MAX: usize = 256;
/// How a Gun peer's greeting begins; it is for the relay alone.
const GREETING: &str = r#"{"dam""#;

/// Everybody who is connected.
type Hall = Arc<RwLock<HashMap<u64, UnboundedSender<Message>>>>;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(0);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on {}", listener.local_addr()?);
    serve(listener).await
}

async fn serve(listener: TcpListener) -> std::io::Result<()> {
    let hall = Hall::default();
    let mut number = 0;
    loop {
        let (stream, _) = listener.accept().await?;
        number += 1;
        tokio::spawn(welcome(stream, number, hall.clone()));
    }
}

async fn welcome(stream: TcpStream, number: u64, hall: Hall) {
    // What is not a WebSocket, or ends before it is one, is not a peer.
    let (Ok(()), Ok(socket)) = (stream.set_nodelay(true), accept_async(stream).await) else {
        return;
    };
    let (sink, stream) = socket.split();
    let (sender, receiver) = unbounded_channel();
    hall.write().unwrap_or_else(PoisonError::into_inner).insert(number, sender);
    // Whatever ends a peer, all that is left is to forget it.
    tokio::select! {
        _ended = hear(stream, number, &hall) => {}
        _ended = say(sink, receiver) => {}
    }
    hall.write().unwrap_or_else(PoisonError::into_inner).remove(&number);
}

/// Passes on what a peer says.
async fn hear(
    mut stream: SplitStream<WebSocketStream<TcpStream>>,
    number: u64,
    hall: &Hall,
) -> Result<(), Error> {
    while let Some(message) = stream.next().await {
        let message = message?;
        if !matches!(&message, Message::Text(text) if !text.starts_with(GREETING)) {
            continue;
        }
        let hall = hall.read().unwrap_or_else(PoisonError::into_inner);
        for (_, peer) in hall.iter().filter(|(other, _)| **other != number) {
            // One that has just left gets nothing.
            let _left = peer.send(message.clone());
        }
    }
    Ok(())
}

/// Writes what others said: all that waits, and then one flush.
async fn say(
    mut sink: SplitSink<WebSocketStream<TcpStream>, Message>,
    mut receiver: UnboundedReceiver<Message>,
) -> Result<(), Error> {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while receiver.recv_many(&mut batch, BATCH_MAX).await > 0 {
        for message in batch.drain(..) {
            sink.feed(message).await?;
        }
        sink.flush().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_tungstenite::client_async;

    async fn peer(address: std::net::SocketAddr) -> WebSocketStream<TcpStream> {
        let stream = TcpStream::connect(address).await.unwrap();
        client_async("ws://127.0.0.1/gun", stream).await.unwrap().0
    }

    #[tokio::test]
    async fn everybody_else_hears_what_is_no_greeting() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener));
        let (mut one, mut other) = (peer(address).await, peer(address).await);
        // Both are in once each has heard the other.
        loop {
            one.send(Message::text("from one")).await.unwrap();
            other.send(Message::text("from the other")).await.unwrap();
            let wait = std::time::Duration::from_millis(50);
            let heard = async { (one.next().await, other.next().await) };
            if tokio::time::timeout(wait, heard).await.is_ok() {
                break;
            }
        }
        one.send(Message::text(r#"{"dam":"?"}"#)).await.unwrap();
        one.send(Message::text("last")).await.unwrap();
        loop {
            let heard = other.next().await.unwrap().unwrap().into_text().unwrap();
            if heard == "last" {
                return;
            }
            assert_eq!(heard, "from one");
        }
    }
}
