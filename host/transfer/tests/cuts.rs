//! Connections that are cut off, on either side.

use crate::commands::{assert_whole, filled, succeed, text};
use crate::content::{Content, LARGE};
use crate::served::Served;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A proxy that ends some of its connections after so many bytes, of what the client sends or
/// of what it gets.
struct Proxy {
    port: u16,
    cut: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

impl Proxy {
    /// Cuts `times` connections.
    fn start(to: u16, way: Way, after: usize, times: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&cut);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
                for (mut from, mut to, own) in [
                    (client.try_clone().unwrap(), server.try_clone().unwrap(), Way::Up),
                    (server, client, Way::Down),
                ] {
                    let count = Arc::clone(&count);
                    std::thread::spawn(move || {
                        let mut passed = 0;
                        let mut buffer = [0; 16 * 1024];
                        while let Ok(length @ 1..) = from.read(&mut buffer) {
                            passed += length;
                            let add = || count.fetch_add(1, Ordering::SeqCst) < times;
                            if own == way && passed > after && add() {
                                break;
                            }
                            if to.write_all(&buffer[..length]).is_err() {
                                break;
                            }
                        }
                        let _ = to.shutdown(std::net::Shutdown::Both);
                        let _ = from.shutdown(std::net::Shutdown::Both);
                    });
                }
            }
        });
        Self { port, cut }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn cuts(&self) -> usize {
        self.cut.load(Ordering::SeqCst)
    }
}

fn port(served: &Served) -> u16 {
    served.url().rsplit_once(':').unwrap().1.parse().unwrap()
}

#[test]
fn downloads_go_on_after_a_cut() {
    let content = Content::with_layer(LARGE);
    let (root, data) = filled(&content);
    let served = Served::start(&data);
    let archive = root.path().join("images.tar");
    let proxy = Proxy::start(port(&served), Way::Down, 3_000_000, 2);
    succeed(&["export", &proxy.url(), "-o", text(&archive)]);
    assert!(proxy.cuts() >= 2);
    // The rest was asked for, and not all of it again.
    let target = root.path().join("target");
    succeed(&["import", text(&target), text(&archive)]);
    assert_whole(&content, &target);
    // However often, as long as something comes each time.
    let proxy = Proxy::start(port(&served), Way::Down, 100_000, usize::MAX);
    let again = root.path().join("again.tar");
    succeed(&["export", &proxy.url(), "-o", text(&again)]);
    assert!(proxy.cuts() > 50);
    assert!(std::fs::read(&archive).unwrap() == std::fs::read(&again).unwrap());
}

#[test]
fn uploads_begin_anew_after_a_cut() {
    let content = Content::with_layer(LARGE);
    let (root, data) = filled(&content);
    let archive = root.path().join("images.tar");
    succeed(&["export", text(&data), "-o", text(&archive)]);
    let target = root.path().join("target");
    std::fs::create_dir(&target).unwrap();
    let served = Served::start(&target);
    let proxy = Proxy::start(port(&served), Way::Up, 3_000_000, 2);
    succeed(&["import", &proxy.url(), text(&archive)]);
    assert!(proxy.cuts() >= 2);
    assert_whole(&content, &target);
}
