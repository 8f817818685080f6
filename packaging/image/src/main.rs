//! `roadstead-image`: writes the image of the registry.

use anyhow::Context as _;
use clap::Parser;
use roadstead_image::{Description, Program, build};
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

const HELP: &str = "\
The output is an OCI image layout: an archive if its name ends in .tar, and otherwise a
directory. With one program, `docker load --input` and `podman load --input` take the archive; with
several, it is a multi-platform index, which `skopeo copy --all oci-archive:FILE docker://…` and
`oras cp --from-oci-layout` push. The same input gives the same bytes.";

/// Build the OCI image of the registry from statically linked programs
#[derive(Parser)]
#[command(name = "roadstead-image", after_help = HELP)]
struct Args {
    /// The program, once for each platform
    #[arg(value_name = "PROGRAM", required = true)]
    programs: Vec<PathBuf>,
    /// The directory or archive (.tar) to write
    #[arg(long, short)]
    output: PathBuf,
    /// The image's name and tag
    #[arg(long, default_value = concat!("roadstead:", env!("CARGO_PKG_VERSION")))]
    name: String,
    /// The commit of the program's source
    #[arg(long)]
    revision: Option<String>,
    /// The time of the image and of its files, in seconds since 1970
    #[arg(long, default_value_t = 0)]
    created: u64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let programs = args.programs.iter().map(|path| Program::read(path));
    let programs = programs.collect::<anyhow::Result<Vec<_>>>()?;
    let description = Description {
        name: args.name,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        revision: args.revision,
        created: args.created,
    };
    let layout = build(&programs, &description)?;
    if args.output.extension().is_none_or(|extension| extension != "tar") {
        return layout.write_directory(&args.output);
    }
    let shown = args.output.display();
    let file = File::create(&args.output).with_context(|| format!("cannot create {shown}"))?;
    layout
        .write_archive(BufWriter::new(file), description.created)
        .with_context(|| format!("cannot write {shown}"))
}
