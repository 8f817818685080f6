use super::{MAX_SIZE, PrivateKey, PublicKey};

/// What is signed below.
const MESSAGE: &[u8] = b"inventory";

/// Made by OpenSSL 3.0: `openssl genpkey -algorithm ed25519`, `openssl pkey -pubout`, and
/// `openssl pkeyutl -sign -rawin`.
const ED25519_PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIN0ygtCuiEezENc6FtcqqKGLyyTCx86n+bwo2kVx8qyC
-----END PRIVATE KEY-----
";
const ED25519: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAZ0vPIolkHc4vTLCR49dnFWBnmBxUGGgBG1VeY8SXz5s=
-----END PUBLIC KEY-----
";
const ED25519_SIGNATURE: &str =
    "8E/cBq1PoTqjSFqwt+lEFwRk7a19RcQenXVBj/qDBaU6H+a+uRkHUpLi9uEouF0ekc78x7cHkBVXDWVH1VszBw==";
const ED25519_FINGERPRINT: &str =
    "9a5e8cfc973c596fd2afabf3bba73d52e26154d9a669d780787d7ece5353c6cb";

/// By `openssl ecparam -name prime256v1` and `openssl dgst -sha256 -sign`, as by cosign.
const P256: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqRLjNfPWx7A8bK3hhYry4nn66MP3
qM0Pl5kQhONJ5XcrNL796cfOfAo0V/LwxMvy6bAeyEY0ryW4KYmnl2xblw==
-----END PUBLIC KEY-----
";
const P256_SIGNATURE: &str = "MEYCIQDlyPIiEx5PIGhGviL8+lW+K55OcSFEmtGPPjkmMzqilgIhAN0FizqisG+\
                              FmrDQ7SW+c/X2EuE1LcUT2l8KKAbITkeT";
const P256_FINGERPRINT: &str = "aa1505d7920dd8e2ca1307e41dbacf3622739001543f4971d2b848ff0a528485";

const P384: &str = "-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEoYdyGuKnesZMUYZfu4RWTmoJND8C2t33
xzhr8G9GHb2poCxvyTbD6jqYj4gdhYda9n+qhbh5533OxoCB+72gOVH9EA1jkY5c
7DSGA8L9BGKGc7gXwvSZpSfmw2NcUpt/
-----END PUBLIC KEY-----
";

#[test]
fn signatures_of_other_programs_are_verified() {
    for (key, signature, fingerprint) in [
        (ED25519, ED25519_SIGNATURE, ED25519_FINGERPRINT),
        (P256, P256_SIGNATURE, P256_FINGERPRINT),
    ] {
        let parsed = PublicKey::parse(key).unwrap();
        assert_eq!(parsed.fingerprint(), fingerprint);
        assert_eq!(parsed.to_pem(), key);
        assert_eq!(parsed.verify(MESSAGE, signature.as_bytes()), Ok(()));
        // As programs print it.
        assert_eq!(parsed.verify(MESSAGE, format!("{signature}\n").as_bytes()), Ok(()));
    }
}

#[test]
fn keys_are_those_of_openssl() {
    let key = PrivateKey::parse(ED25519_PRIVATE).unwrap();
    assert_eq!(key.to_pem(), ED25519_PRIVATE);
    assert_eq!(key.public_key().to_pem(), ED25519);
    // Ed25519's signatures are always the same.
    assert_eq!(key.sign(MESSAGE), ED25519_SIGNATURE.as_bytes());
    assert_eq!(format!("{key:?}"), format!("PrivateKey(\"{ED25519_FINGERPRINT}\")"));
}

#[test]
fn new_keys_sign_what_their_public_keys_verify() {
    let (key, other) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
    assert_ne!(key.public_key(), other.public_key());
    let pem = key.to_pem();
    assert_eq!(pem.lines().nth(1).unwrap().len(), 64);
    let read = PrivateKey::parse(&pem).unwrap();
    let public_key = PublicKey::parse(&key.public_key().to_pem()).unwrap();
    assert_eq!(public_key.verify(MESSAGE, &read.sign(MESSAGE)), Ok(()));
    let error = other.public_key().verify(MESSAGE, &read.sign(MESSAGE)).unwrap_err();
    assert!(error.contains(&other.public_key().fingerprint()), "{error}");
}

#[test]
fn signatures_that_are_wrong_are_refused() {
    let long = "A".repeat(MAX_SIZE + 1);
    for (key, own, other) in
        [(ED25519, ED25519_SIGNATURE, P256_SIGNATURE), (P256, P256_SIGNATURE, ED25519_SIGNATURE)]
    {
        let key = PublicKey::parse(key).unwrap();
        let changed = own.replacen('1', "2", 1).replacen('P', "Q", 1);
        let url_safe = own.replace('+', "-").replace('/', "_");
        for (message, signature, says) in [
            (&MESSAGE[1..], own, "not by the key"),
            (MESSAGE, other, "not by the key"),
            (MESSAGE, changed.as_str(), "not by the key"),
            (MESSAGE, "", "not by the key"),
            (MESSAGE, "AAAA", "not by the key"),
            (MESSAGE, &own[..own.len() - 1], "no base64"),
            (MESSAGE, url_safe.as_str(), "no base64"),
            (MESSAGE, long.as_str(), "more than 512 bytes"),
        ] {
            let error = key.verify(message, signature.as_bytes()).unwrap_err();
            assert!(error.contains(says), "{signature}: {error}");
        }
    }
}

#[test]
fn other_keys_are_refused() {
    let encrypted = ED25519_PRIVATE.replace("PRIVATE", "ENCRYPTED SIGSTORE PRIVATE");
    let cut = ED25519.replace("z5s=", "zw==");
    let compressed = P256.replace("DQgAE", "DQgAC");
    for (pem, says) in [
        ("", "no key in PEM"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA", "no key in PEM"),
        (ED25519_PRIVATE, "no public key"),
        (P384, "not of Ed25519 or ECDSA P-256"),
        (&cut, "not of Ed25519 or ECDSA P-256"),
        (&compressed, "not of Ed25519 or ECDSA P-256"),
    ] {
        let error = PublicKey::parse(pem).unwrap_err();
        assert!(error.contains(says), "{pem}: {error}");
    }
    let short = ED25519_PRIVATE.replace("qyC", "q==");
    for (pem, says) in [
        ("", "no key in PEM"),
        (ED25519, "no private key"),
        (&encrypted, "encrypted"),
        (&short, "no private key of Ed25519"),
    ] {
        let error = PrivateKey::parse(pem).map(|_| ()).unwrap_err();
        assert!(error.contains(says), "{pem}: {error}");
    }
}
