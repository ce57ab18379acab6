"""Request headers that name a second resource: the source of a copy, a destination, the target of a link. No I/O.

Sitelatch judges only the resource that the target names. A backend that also reads or writes the resource in such a
header might access a site that was not judged. A test compares these rows with the table in docs/backends.md.
"""

import re
from collections.abc import Callable

from proxy.http.headers import Fields, Spellings, fold_name
from proxy.http.known_headers import known_headers

_S3 = "https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html"
_S3_RENAME = "https://docs.aws.amazon.com/AmazonS3/latest/API/API_RenameObject.html"
_GOOGLE = "https://cloud.google.com/storage/docs/xml-api/put-object-copy"
_AZURE = "https://learn.microsoft.com/en-us/rest/api/storageservices/"
_SWIFT_COPY = "openstack/swift:swift/common/middleware/copy.py"
_SWIFT_LINK = "openstack/swift:swift/common/middleware/symlink.py"
_SWIFT_VERSIONS = "openstack/swift:swift/common/middleware/versioned_writes"
_OSS = "aliyun/aliyun-oss-go-sdk:oss/const.go"
_WEBDAV = "https://www.rfc-editor.org/rfc/rfc4918"
_SYSTEMS_S3 = "Amazon S3, MinIO, Ceph RGW, Backblaze, Cloudflare R2"

# fmt: off
SECOND_RESOURCE_HEADERS = known_headers(
    (
        ("x-amz-copy-source", _SYSTEMS_S3, "copy source", _S3, "documented"),
        ("x-amz-rename-source", "Amazon S3 Express", "rename source", _S3_RENAME, "documented"),
        ("x-goog-copy-source", "Google Cloud Storage", "copy source", _GOOGLE, "documented"),
        ("x-ms-copy-source", "Azure Blob and Files", "copy source", _AZURE + "copy-blob", "documented"),
        ("x-ms-rename-source", "Azure Data Lake", "rename source", _AZURE + "datalakestoragegen2/", "documented"),
        ("x-ms-file-rename-source", "Azure Files", "rename source", _AZURE + "rename-file", "documented"),
        ("x-ms-file-target-file", "Azure Files", "target of a hard link", _AZURE + "create-hard-link", "documented"),
        ("x-ms-previous-snapshot-url", "Azure Blob", "snapshot to compare", _AZURE + "get-page-ranges", "documented"),
        ("x-oss-copy-source", "Alibaba Cloud OSS", "copy source", _OSS, "verified"),
        ("x-oss-rename-source", "Alibaba Cloud OSS", "rename source", _OSS, "documented"),
        ("x-oss-symlink-target", "Alibaba Cloud OSS", "target of a link", _OSS, "verified"),
        ("x-cos-copy-source", "Tencent COS", "copy source", "tencentyun/cos-go-sdk-v5:object.go", "verified"),
        ("x-cos-symlink-target", "Tencent COS", "target of a link", "tencentyun/cos-go-sdk-v5:object.go", "verified"),
        ("x-obs-copy-source", "Huawei OBS", "copy source", "huaweicloud/huaweicloud-sdk-go-obs:obs/const.go", "verified"),
        ("x-tos-copy-source", "Volcengine TOS", "copy source", "volcengine/ve-tos-python-sdk", "documented"),
        ("x-tos-symlink-target", "Volcengine TOS", "target of a link", "volcengine/ve-tos-python-sdk", "reported"),
        ("x-bce-copy-source", "Baidu BOS", "copy source", "baidubce/bce-sdk-go:http/constants.go", "verified"),
        ("x-bce-symlink-target", "Baidu BOS", "target of a link", "baidubce/bce-sdk-go:http/constants.go", "reported"),
        ("x-kss-copy-source", "Kingsoft KS3", "copy source", "SDKs of KS3", "reported"),
        ("x-nos-copy-source", "NetEase NOS", "copy source", "SDKs of NetEase NOS", "reported"),
        ("x-nos-move-source", "NetEase NOS", "rename source", "SDKs of NetEase NOS", "reported"),
        ("x-qs-copy-source", "QingStor", "copy source", "yunify/qingstor-sdk-js", "verified"),
        ("x-qs-move-source", "QingStor", "rename source", "yunify/qingstor-sdk-js", "verified"),
        ("x-qs-fetch-source", "QingStor", "URL to fetch", "yunify/qingstor-sdk-js", "verified"),
        ("x-upyun-copy-source", "Upyun", "copy source", "upyun/go-sdk:upyun/rest.go", "verified"),
        ("x-upyun-move-source", "Upyun", "rename source", "upyun/go-sdk:upyun/rest.go", "verified"),
        ("x-copy-from", "OpenStack Swift, Ceph RGW", "copy source", _SWIFT_COPY, "verified"),
        ("x-copy-from-account", "OpenStack Swift", "copy source", _SWIFT_COPY, "verified"),
        ("destination-account", "OpenStack Swift", "copy destination", _SWIFT_COPY, "verified"),
        ("x-object-manifest", "OpenStack Swift", "segments", "openstack/swift:swift/common/middleware/dlo.py", "verified"),
        ("x-symlink-target", "OpenStack Swift", "target of a link", _SWIFT_LINK, "verified"),
        ("x-symlink-target-account", "OpenStack Swift", "target of a link", _SWIFT_LINK, "verified"),
        ("x-versions-location", "OpenStack Swift", "container of old versions", _SWIFT_VERSIONS, "verified"),
        ("x-history-location", "OpenStack Swift", "container of old versions", _SWIFT_VERSIONS, "documented"),
        ("x-container-sync-to", "OpenStack Swift", "copy destination", "openstack/swift:swift/common/middleware/container_sync.py", "verified"),
        ("destination", "WebDAV, OpenStack Swift", "copy or rename destination", _WEBDAV + "#section-10.3", "documented"),
        ("if", "WebDAV", "resources of a tagged list, `<…> (…)`", _WEBDAV + "#section-10.4.2", "documented"),
        ("source", "WebDAV third-party copies (dCache, XRootD)", "copy source, a path or URL", "https://dcache.org/manuals/", "reported"),
        ("apply-to-redirect-ref", "WebDAV redirect references", "target of a link", "https://www.rfc-editor.org/rfc/rfc4437", "documented"),
        ("upload-concat", "tus", "uploads to concatenate, `final;…`", "https://tus.io/protocols/resumable-upload", "documented"),
    )
)
# fmt: on

COPYING = frozenset({b"COPY", b"MOVE"})
"""The methods for which `Destination` and `Source` name a resource. Other APIs use headers with these names for data,
such as `Destination: BER`."""
_NONE, _ALWAYS, _BY_VALUE, _OF_COPIES = range(4)
_OF_COPIES_NAMES = frozenset({b"destination", b"source"})
# An untagged list (RFC 4918 §10.4.2): conditions in parentheses on the request's own resource.
_UNTAGGED_LIST = re.compile(rb"[ \t]*+(?>(?:\([^()]*+\)[ \t]*+)+)\Z")
_WORDS = re.compile(rb"[A-Za-z0-9 ,_-]*+\Z")
_PATH_OR_URL = re.compile(rb"/|[A-Za-z][A-Za-z0-9+.-]*:")
_NAMES = frozenset(row.name.encode() for row in SECOND_RESOURCE_HEADERS)
_VALUE_CHECKS: dict[bytes, Callable[[bytes], bool]] = {
    b"if": lambda value: b"<" in value and _UNTAGGED_LIST.match(value) is None,
    b"upload-concat": lambda value: value.lower().startswith(b"final"),
}


def _kind(name: bytes) -> int:
    folded = fold_name(name)
    if folded in _OF_COPIES_NAMES:
        return _OF_COPIES
    return _NONE if folded not in _NAMES else _BY_VALUE if folded in _VALUE_CHECKS else _ALWAYS


_KINDS = Spellings(_kind)


def names_second_resource(fields: Fields, *, copies: bool) -> bool:
    """Return whether a header names a resource other than the target. `copies`: whether COPYING methods may occur."""
    for name, value in fields:
        kind = _KINDS[name]
        if kind == _ALWAYS or (kind == _BY_VALUE and _VALUE_CHECKS[fold_name(name)](value)):
            return True
        if kind == _OF_COPIES and _names_copy(fold_name(name), value, copies=copies):
            return True
    return False


def _names_copy(folded: bytes, value: bytes, *, copies: bool) -> bool:
    if folded == b"destination":
        return copies or _WORDS.match(value) is None
    return copies and _PATH_OR_URL.match(value) is not None
