//! `roadstead key`: a pair of keys with which inventories are signed and verified.

use roadstead_archive::PrivateKey;
use roadstead_operator::Streams;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

const HELP: &str = "\
Examples:
  roadstead key courier                        writes courier.key and courier.pub
  roadstead export http://localhost:5000 --sign courier.key -o images.tar
  roadstead import /var/lib/registry --verify courier.pub images.tar

The keys are of Ed25519. Who has courier.key can sign: keep it on the connected side. A public key
of cosign (cosign.pub, ECDSA with P-256) is accepted by --verify too.";

/// Make a pair of keys to sign inventories with
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// The keys are NAME.key and NAME.pub
    #[arg(value_name = "NAME")]
    name: PathBuf,
}

/// Makes keys, and returns the exit status: 0, or 2 if they could not be made.
pub fn run(args: &Args, streams: &mut Streams<'_>) -> u8 {
    match make(&args.name) {
        Ok(fingerprint) => {
            let name = args.name.display();
            let _ = writeln!(streams.output, "{name}.key and {name}.pub, {fingerprint}");
            0
        }
        Err(problem) => {
            streams.say("key", &problem);
            2
        }
    }
}

fn make(name: &Path) -> Result<String, String> {
    let key = PrivateKey::generate()?;
    let public = key.public_key();
    for (extension, mode, pem) in [("key", 0o600, key.to_pem()), ("pub", 0o644, public.to_pem())] {
        let mut path = name.as_os_str().to_owned();
        path.push(format!(".{extension}"));
        // One that is there may be in use.
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
        let written = file.and_then(|mut file| {
            file.write_all(pem.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|error| format!("{}: {error}", Path::new(&path).display()))?;
    }
    Ok(public.fingerprint())
}
