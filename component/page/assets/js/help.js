// What to do about an error of the registry, by its code or status.

const BY_CODE = {
  UNAUTHORIZED: 'Log in as a user who may do this.',
  DENIED: 'Ask the operator of the registry for this permission, or log in as another user.',
  NAME_UNKNOWN: 'There is no such repository, or it has been deleted. Look for it in the list of repositories.',
  MANIFEST_UNKNOWN: 'The tag or the manifest has been deleted, or was never pushed here. Go back to the tags of the repository.',
  NAME_INVALID: 'Check the name of the repository in the address.',
  TAG_INVALID: 'Check the tag in the address.',
  DIGEST_INVALID: 'Check the digest in the address.',
  UNSUPPORTED: 'The operator of the registry has turned this off; the message names the setting.',
  TOOMANYREQUESTS: 'Wait a little, and try again.',
};

const BY_STATUS = {
  0: 'Check that the registry runs, and that this machine reaches it. Then try again.',
  403: BY_CODE.DENIED,
  404: 'It may have been deleted, or this registry may be older than the page.',
  409: 'The message says what stands against it.',
  429: BY_CODE.TOOMANYREQUESTS,
  502: 'A proxy does not reach the registry. Try again; if it stays, tell its operator.',
  503: 'The registry or its storage is not available at the moment. Try again.',
  507: 'The storage of the registry is full. Its operator has to make room.',
};

export function advice({ status, code }) {
  return BY_CODE[code] ?? BY_STATUS[status] ?? 'Try again. If it stays, tell the operator of the registry what stands here.';
}
