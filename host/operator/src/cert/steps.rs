//! The steps to use the files, with this registry's name and port.

use super::DOCKER_DIRECTORY;
use std::fmt::Write as _;
use std::path::Path;

/// Where podman, skopeo and buildah look for certificates.
const CONTAINERS: &str = "/etc/containers/certs.d";

/// What the steps refer to.
pub(super) struct Steps<'a> {
    /// The registry's host and port as in image names: the first is the usual one.
    pub(super) authorities: &'a [String],
    pub(super) port: u16,
    pub(super) certificate: &'a Path,
    pub(super) key: &'a Path,
    pub(super) ca: &'a Path,
}

impl Steps<'_> {
    /// The steps to serve, and to make each kind of client trust the registry.
    pub(super) fn server(&self) -> String {
        let Self { port, certificate, key, ca, .. } = self;
        let authority = self.authority();
        let (certificate, key, ca) = (certificate.display(), key.display(), ca.display());
        let install = |base: &str| {
            let line = |authority: &String| {
                format!("  sudo install -D -m 644 ca.crt \"{base}/{authority}/ca.crt\"")
            };
            self.authorities.iter().map(line).collect::<Vec<_>>().join(" &&\n")
        };
        let (docker, containers) = (install(DOCKER_DIRECTORY), install(CONTAINERS));
        format!(
            "Serve:
  REGISTRY_HTTP_ADDR=:{port} REGISTRY_HTTP_TLS_CERTIFICATE={certificate} \
REGISTRY_HTTP_TLS_KEY={key} roadstead serve

Clients must trust the CA. Copy {ca} to each client, and run the step for its kind:

Docker on Linux, no restart:
{docker}
Docker Desktop on macOS, then restart it:
  mkdir -p ~/.docker/certs.d/\"{authority}\" && cp ca.crt ~/.docker/certs.d/\"{authority}\"/
  or for all programs: sudo security add-trusted-cert -d -r trustRoot \
-k /Library/Keychains/System.keychain ca.crt
Docker Desktop on Windows, as administrator, then restart it:
  certutil -addstore -f Root ca.crt
podman, skopeo, buildah, or for one command --cert-dir with a directory that holds ca.crt:
{containers}
containerd, with config_path = \"/etc/containerd/certs.d\" in its config.toml:
  sudo install -D -m 644 ca.crt \"/etc/containerd/certs.d/{authority}/ca.crt\" &&
  printf 'server = \"https://{authority}\"\\n[host.\"https://{authority}\"]\\n  \
ca = \"/etc/containerd/certs.d/{authority}/ca.crt\"\\n' |
  sudo tee \"/etc/containerd/certs.d/{authority}/hosts.toml\"
k3s: add this to /etc/rancher/k3s/registries.yaml, then systemctl restart k3s (k3s-agent on agents):
  sudo install -D -m 644 ca.crt /etc/rancher/k3s/registry-ca.crt
  configs: {{\"{authority}\": {{tls: {{ca_file: /etc/rancher/k3s/registry-ca.crt}}}}}}

The system's trust store, for all programs; some versions of Docker need it for docker login
too, then restart Docker:
Debian, Ubuntu:
  sudo install -m 644 ca.crt /usr/local/share/ca-certificates/{file}.crt && \
sudo update-ca-certificates
Red Hat, Fedora:
  sudo install -m 644 ca.crt /etc/pki/ca-trust/source/anchors/{file}.crt && sudo update-ca-trust
Oracle Linux:
  sudo update-ca-trust enable && \
sudo install -m 644 ca.crt /etc/pki/ca-trust/source/anchors/{file}.crt && sudo update-ca-trust

Check:
  roadstead doctor https://{authority} --ca {ca}
",
            file = file_name(authority),
        )
    }

    /// The steps to use a client's certificate.
    pub(super) fn client(&self, certificate: &Path, key: &Path) -> String {
        let ca = self.ca;
        let (certificate, key) = (certificate.display(), key.display());
        let mut text = format!(
            "Have the registry require client certificates of this CA:
  REGISTRY_HTTP_TLS_CLIENTCAS_0={} with the other settings

Give the client its two files:
",
            ca.display()
        );
        for (program, base) in
            [("Docker on Linux", DOCKER_DIRECTORY), ("podman, skopeo, buildah", CONTAINERS)]
        {
            let lines = self.authorities.iter().map(|authority| {
                format!(
                    "  sudo install -D -m 644 {certificate} \"{base}/{authority}/client.cert\" &&\n  \
                     sudo install -D -m 600 {key} \"{base}/{authority}/client.key\""
                )
            });
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{program}:\n{}", lines.collect::<Vec<_>>().join(" &&\n"));
        }
        text
    }

    fn authority(&self) -> &str {
        self.authorities.first().map_or("REGISTRY", String::as_str)
    }
}

/// The registry's name as a file name, without colons, which
/// `update-ca-certificates` does not accept.
fn file_name(authority: &str) -> String {
    authority.chars().map(|c| if matches!(c, ':' | '[' | ']') { '-' } else { c }).collect()
}
