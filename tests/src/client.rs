//! One request on one connection, and its whole response.

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use std::net::IpAddr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};

/// A response with its body.
pub type Answer = Response<Bytes>;

/// Sends a request to `address` (`host:port`) and reads the whole response.
pub async fn send(address: &str, request: Request<Bytes>) -> anyhow::Result<Answer> {
    exchange(TcpStream::connect(address).await?, address, request).await
}

/// The same, from a given address of this machine.
pub async fn send_from(
    from: IpAddr,
    address: &str,
    request: Request<Bytes>,
) -> anyhow::Result<Answer> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    exchange(socket.connect(address.parse()?).await?, address, request).await
}

/// Boxed, so that hyper's client is compiled here, and not again in each test program.
fn exchange(
    stream: TcpStream,
    address: &str,
    request: Request<Bytes>,
) -> BoxFuture<'_, anyhow::Result<Answer>> {
    Box::pin(async move {
        stream.set_nodelay(true)?;
        send_on(stream, address, request).await
    })
}

/// The same on the caller's connection, which is used for this request only.
pub async fn send_on(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    address: &str,
    request: Request<Bytes>,
) -> anyhow::Result<Answer> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let mut request = request.map(Full::new);
    request.headers_mut().insert(http::header::HOST, address.parse()?);
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    drop(sender);
    connection.await??;
    Ok(Response::from_parts(parts, body))
}
