"""The bodies that the server takes, field by field."""

from __future__ import annotations

from oa_client.local._surfaces.fields import (
    Field,
    read_boolean,
    read_choice,
    read_fields,
    read_integer,
    read_list,
    read_number,
    read_object,
    read_raw,
    read_text,
    read_title,
)

SAMPLING = {
    "top_k": Field(read_integer, nullable=True),
    "top_p": Field(read_number, nullable=True),
    "typical_p": Field(read_number, nullable=True),
    "temperature": Field(read_number, nullable=True),
    "repetition_penalty": Field(read_number, nullable=True),
    "max_new_tokens": Field(read_integer, default=1024),
}

PLUGIN_API = {
    "type": Field(read_text, required=True),
    "url": Field(read_text, required=True),
    "has_user_authentication": Field(read_boolean, nullable=True, default=False),
    "is_user_authenticated": Field(read_boolean, nullable=True, default=False),
}

PLUGIN_PARAMETER = {
    "name": Field(read_text, required=True),
    "in_": Field(read_text, required=True),
    "description": Field(read_text, required=True),
    "required": Field(read_boolean, required=True),
    "schema_": Field(read_raw, nullable=True),
}

PLUGIN_ENDPOINT = {
    "path": Field(read_text, required=True),
    "type": Field(read_text, required=True),
    "summary": Field(read_text, required=True),
    "operation_id": Field(read_text, required=True),
    "url": Field(read_text, required=True),
    "params": Field(read_list(read_fields(PLUGIN_PARAMETER)), required=True),
    "payload": Field(read_object, nullable=True),
}

PLUGIN_CONFIG = {
    "schema_version": Field(read_text, required=True),
    "name_for_model": Field(read_text, required=True),
    "name_for_human": Field(read_text, required=True),
    "description_for_human": Field(read_text, required=True),
    "description_for_model": Field(read_text, required=True),
    "api": Field(read_fields(PLUGIN_API), required=True),
    "auth": Field(read_fields({"type": Field(read_text, required=True)}), required=True),
    "logo_url": Field(read_text, nullable=True),
    "contact_email": Field(read_text, nullable=True),
    "legal_info_url": Field(read_text, nullable=True),
    "endpoints": Field(read_list(read_fields(PLUGIN_ENDPOINT)), nullable=True),
}

PLUGIN = {
    "url": Field(read_text, required=True),
    "enabled": Field(read_boolean, default=True),
    "plugin_config": Field(read_fields(PLUGIN_CONFIG), nullable=True),
    "trusted": Field(read_boolean, nullable=True, default=False),
}

CHAT_CHANGES = {
    "title": Field(read_title, nullable=True),
    "hidden": Field(read_boolean, nullable=True),
    "allow_data_use": Field(read_boolean, nullable=True),
    "active_thread_tail_message_id": Field(read_text, nullable=True),
}

PROMPT = {
    "parent_id": Field(read_text, nullable=True),
    "content": Field(read_text, required=True),
}

read_sampling = read_fields(SAMPLING)

ANSWER = {
    "parent_id": Field(read_text, required=True),
    "model_config_name": Field(read_text, required=True),
    "sampling_parameters": Field(read_sampling, default=read_sampling({})),
    "system_prompt": Field(read_text, nullable=True),
    "user_profile": Field(read_text, nullable=True),
    "user_response_instructions": Field(read_text, nullable=True),
    "plugins": Field(read_list(read_fields(PLUGIN)), default=[]),
}

VOTE = {"score": Field(read_integer, required=True)}

EVALUATION = {"inferior_message_ids": Field(read_list(read_text), required=True)}

REPORT = {
    "report_type": Field(read_choice("spam", "offensive", "feedback"), required=True),
    "reason": Field(read_text, required=True),
}

TRUSTED_CLIENT = {
    name: Field(read_text, required=True)
    for name in ("api_key", "client", "user_id", "provider_account_id", "username")
}
"""The contents of the `TrustedClient` header."""
