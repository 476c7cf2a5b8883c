"""Uploaded files and their thumbnails."""

from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.datastructures import UploadFile
from starlette.responses import Response

from jobplane.contracts.errors import Refused
from jobplane.gateway import assets
from jobplane.gateway.answers import AssetIdPath, ready
from jobplane.gateway.assets import Asset
from jobplane.gateway.auth import Admin, Viewer
from jobplane.gateway.openapi import may_fail, shows, shows_file
from jobplane.gateway.wiring import gateway_of

router = APIRouter(prefix="/api/admin/assets", tags=["assets"])

_MULTIPART: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary", "description": "At most 32 MiB."}},
                    "additionalProperties": False,
                },
                "examples": {"a picture": {"value": {"file": "(the bytes of photo.jpg)"}}},
            }
        },
    }
}


@router.post(
    "",
    status_code=201,
    openapi_extra=_MULTIPART,
    responses=shows(Asset, 201, "Kept.", headers=("Location",))
    | may_fail("malformed_request", "payload_too_large", "unsupported_media_type", "invalid_request"),
    summary="Upload a file",
)
async def upload(request: Request, caller: Admin) -> Response:
    """Keep a file for jobs to work on. Give its id as `asset` of a job; its kind is told by its first bytes."""
    # Read here, not by a parameter: nobody may fill the disk before we know who they are.
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Refused("unsupported_media_type", "Send the file as multipart/form-data, in the field 'file'.")
    async with request.form(max_files=1, max_fields=0) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise Refused("invalid_request", "Send the file in the field 'file'.")
        asset = await assets.keep(gateway_of(request), caller, file)
    return ready(asset, {"Location": asset.url}, 201)


@router.get("/{asset_id}", responses=shows_file() | may_fail("asset_not_found"), summary="Get a file")
async def asset(request: Request, caller: Viewer, asset_id: AssetIdPath) -> Response:  # noqa: ARG001 - declares who may call
    """The file as it was uploaded. Only well-known pictures are shown in place; anything else is a download."""
    return await assets.original(gateway_of(request), str(asset_id))


@router.get(
    "/{asset_id}/thumbnail", responses=shows_file() | may_fail("thumbnail_not_found"), summary="Get a file's thumbnail"
)
async def thumbnail(request: Request, caller: Viewer, asset_id: AssetIdPath) -> Response:  # noqa: ARG001 - declares who may call
    """The small picture that a job `image.thumbnail` made of it."""
    return await assets.thumbnail(gateway_of(request), str(asset_id))
