//! The flags of `wsgw token`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::cluster::timeout;

const TOKEN_EXAMPLES: &str = "\
Examples:
  wsgw token key --out key.json                                a key pair (EdDSA), in a file for you alone
  wsgw token secret --key key.json --name odin-jwt | kubectl apply -f -
                                                               its public half, for spec.auth of a WsGateway
  wsgw token new --key key.json --sub ann --audience odin >ann.token
  wsgw token verify --keys key.json --manifest odin.yaml - <ann.token
                                                               whether it is accepted, and what it may hear";

/// `wsgw token`.
#[derive(Debug, Args)]
#[command(after_help = TOKEN_EXAMPLES)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
}

/// What to do with keys and tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a key for tokens, in a file that only you can read
    Key(KeyArgs),
    /// Print a new token, for a test or a program of your own
    New(Box<NewArgs>),
    /// Say whether a token is accepted, what is wrong with it, and what its holder may hear
    Verify(Box<VerifyArgs>),
    /// Print the public keys as a JWKS (RFC 7517); no secret is in it
    Jwks(JwksArgs),
    /// Print a Secret for spec.auth of a WsGateway, with the label that allows it: public keys, unless told otherwise
    Secret(SecretArgs),
}

/// What a new key is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum NewKey {
    /// Ed25519: a key pair, short and fast
    #[default]
    #[value(name = "EdDSA")]
    EdDsa,
    /// A key pair on P-256
    #[value(name = "ES256")]
    Es256,
    /// A key pair on P-384
    #[value(name = "ES384")]
    Es384,
    /// An RSA key pair of 2048 bits, for what knows nothing newer: slow to sign, tokens are longer
    #[value(name = "RS256")]
    Rs256,
    /// The same with the padding PSS
    #[value(name = "PS256")]
    Ps256,
    /// A secret: whoever verifies with it can make tokens, too
    #[value(name = "HS256")]
    Hs256,
    /// A longer secret
    #[value(name = "HS384")]
    Hs384,
    /// A yet longer secret
    #[value(name = "HS512")]
    Hs512,
}

/// `wsgw token key`.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// What tokens are signed with
    #[arg(long, value_name = "ALGORITHM", value_enum, ignore_case = true, default_value_t)]
    pub(crate) algorithm: NewKey,
    /// Name of the key, which tokens then carry [default: a random one]
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) kid: Option<String>,
    /// File to write; one that exists is left alone
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

const NEW_EXAMPLES: &str = "\
Examples:
  wsgw token new --key key.json --sub ann
  wsgw token new --key key.json --sub ann --channels 'BTC.*' --channels user.ann.> --expires 5m
  wsgw token new --key odin-jwt.pem --sub ann --audience odin --claim role=trader --claim desk=fx
  wsgw token new --key key.json --sub ann --claim-json 'level=3' --claim-json 'roles=[\"a\",\"b\"]'";

/// `wsgw token new`.
#[derive(Debug, Args)]
#[command(after_help = NEW_EXAMPLES)]
pub(crate) struct NewArgs {
    /// Key to sign with: of wsgw token key, a private JWK, or a private key in PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Name of the key, instead of its own
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) kid: Option<String>,
    /// Algorithm to sign with, such as RS256 [default: that of the key]
    #[arg(long, value_name = "ALGORITHM", value_parser = algorithm)]
    pub(crate) algorithm: Option<jsonwebtoken::Algorithm>,
    /// The user (sub)
    #[arg(long, value_name = "USER", value_parser = name)]
    pub(crate) sub: String,
    /// Pattern of channels to put into the claim of --channels-claim; may be given several times
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    pub(crate) channels: Vec<String>,
    /// Claim for --channels, as spec.auth.jwt.channelsClaim names it
    #[arg(long, value_name = "NAME", default_value = "channels", value_parser = name)]
    pub(crate) channels_claim: String,
    /// A claim whose value is text, such as desk=fx; may be given several times
    #[arg(long = "claim", value_name = "NAME=TEXT", value_parser = text_claim)]
    pub(crate) claims: Vec<(String, Value)>,
    /// A claim whose value is JSON, such as level=3; may be given several times
    #[arg(long = "claim-json", value_name = "NAME=JSON", value_parser = json_claim)]
    pub(crate) json_claims: Vec<(String, Value)>,
    /// How long it is valid
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = timeout)]
    pub(crate) expires: Duration,
    /// Valid for ever: whoever finds it may use it until the key is removed
    #[arg(long, conflicts_with = "expires")]
    pub(crate) never_expires: bool,
    /// Valid only after so long (nbf)
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    pub(crate) not_before: Option<Duration>,
    /// Issuer (iss)
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) issuer: Option<String>,
    /// Whom it is meant for (aud); may be given several times
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) audience: Vec<String>,
    /// Name of the token (jti), by which wsgw disconnect can end it [default: a random one]
    #[arg(long, value_name = "ID", value_parser = name)]
    pub(crate) id: Option<String>,
}

const VERIFY_EXAMPLES: &str = "\
Examples:
  wsgw token verify --keys key.json - <ann.token
  wsgw token verify --jwks jwks.json --audience odin --issuer https://login.example - <ann.token
  wsgw token verify --keys key.json --manifest odin.yaml --channel BTC.trade - <ann.token
                                       by the rules of a WsGateway; ends with 1 if a channel is not allowed

Ends with code 0 when the token is accepted, else 1. Without a key the token is only explained, and the code is 1.";

/// `wsgw token verify`.
#[derive(Debug, Args)]
#[command(after_help = VERIFY_EXAMPLES)]
pub(crate) struct VerifyArgs {
    /// The token; - reads standard input, so that it is in no list of processes and no history
    pub(crate) token: String,
    /// Keys as a gateway reads them: PEM with one public key, JWK, JWKS, a secret, or a file of wsgw token key
    #[arg(long, value_name = "FILE")]
    pub(crate) keys: Vec<PathBuf>,
    /// Keys as a gateway fetches them: a JWKS in which secrets do not count
    #[arg(long, value_name = "FILE")]
    pub(crate) jwks: Vec<PathBuf>,
    /// Manifest with one WsGateway: its algorithms, issuer, audience and rules count
    #[arg(long, value_name = "MANIFEST", conflicts_with_all = ["issuer", "audience", "leeway"])]
    pub(crate) manifest: Option<String>,
    /// A channel or pattern to ask about; may be given several times
    #[arg(long, value_name = "CHANNEL", requires = "manifest", value_parser = pattern)]
    pub(crate) channel: Vec<String>,
    /// Refuse tokens of another issuer
    #[arg(long, value_name = "NAME")]
    pub(crate) issuer: Option<String>,
    /// Refuse tokens that are meant for none of these
    #[arg(long, value_name = "NAME")]
    pub(crate) audience: Vec<String>,
    /// How far the issuer's clock may differ [default: 30s, as a WsGateway has it]
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    pub(crate) leeway: Option<Duration>,
    /// Print JSON for programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// `wsgw token jwks`.
#[derive(Debug, Args)]
pub(crate) struct JwksArgs {
    /// File with a private key; several times for several keys, such as the old and the new one
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) key: Vec<PathBuf>,
}

/// `wsgw token secret`.
#[derive(Debug, Args)]
pub(crate) struct SecretArgs {
    /// File with a key; several times for several keys, such as the old and the new one
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) key: Vec<PathBuf>,
    /// Name of the Secret
    #[arg(long, value_name = "NAME", value_parser = object_name)]
    pub(crate) name: String,
    /// Namespace of the Secret [default: none, so that kubectl's counts]
    #[arg(short, long, value_name = "NAMESPACE", value_parser = object_name)]
    pub(crate) namespace: Option<String>,
    /// Key in the Secret, as spec.auth.jwt.keys[].secret.key names it
    #[arg(long, value_name = "KEY", default_value = "key.json", value_parser = secret_key)]
    pub(crate) secret_key: String,
    /// Also print secrets (HS256 and the like), which a gateway needs to verify with them
    #[arg(long)]
    pub(crate) with_secrets: bool,
}

fn name(text: &str) -> Result<String, String> {
    let is_good = !text.is_empty()
        && text.len() <= wsgateway_config::MAX_CLAIM_BYTES
        && !text.contains(char::is_control);
    if is_good {
        Ok(text.to_owned())
    } else {
        Err("must have 1 to 255 bytes, all printable".into())
    }
}

/// As Kubernetes has names (RFC 1123).
fn object_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let ends = !text.starts_with(['-', '.']) && !text.ends_with(['-', '.']);
    let is_good = !text.is_empty() && text.len() <= 253 && ends && text.chars().all(plain);
    if is_good {
        Ok(text.to_owned())
    } else {
        Err("must be a name of Kubernetes, such as odin-jwt".into())
    }
}

fn secret_key(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_good = !text.is_empty() && text.len() <= 253 && text.chars().all(plain);
    if is_good {
        Ok(text.to_owned())
    } else {
        Err("must be a key of a Secret, such as key.json".into())
    }
}

fn pattern(text: &str) -> Result<String, String> {
    if wsgateway_config::is_pattern(text) {
        Ok(text.to_owned())
    } else {
        Err("must be a channel or a pattern, such as BTC.price, BTC.* or user.ann.>".into())
    }
}

fn algorithm(text: &str) -> Result<jsonwebtoken::Algorithm, String> {
    text.parse()
        .map_err(|_| "must be one of HS, RS, PS or ES with 256 and the like, or EdDSA".into())
}

fn text_claim(text: &str) -> Result<(String, Value), String> {
    let (claim, value) = claim(text)?;
    Ok((claim, Value::String(value.to_owned())))
}

fn json_claim(text: &str) -> Result<(String, Value), String> {
    let (claim, value) = claim(text)?;
    let value = serde_json::from_str(value)
        .map_err(|error| format!("{error}; for text use --claim, or quotes inside of quotes"))?;
    Ok((claim, value))
}

/// Claims with a flag of their own are set by that flag alone.
fn claim(text: &str) -> Result<(String, &str), String> {
    let (claim, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    let flag = match claim {
        "sub" => "--sub",
        "exp" => "--expires",
        "nbf" => "--not-before",
        "iss" => "--issuer",
        "aud" => "--audience",
        "jti" => "--id",
        "iat" => return Err("iat is always the time of now".into()),
        _ => return Ok((name(claim)?, value)),
    };
    Err(format!("{claim} has a flag of its own: {flag}"))
}
